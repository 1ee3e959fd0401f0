/** Every room on a phone and a desk, light and dark: nothing is too wide, and axe finds nothing. */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { check, checkEverywhere, open, room, shoot, visit, wanted, worked, type Scheme, type Size } from "./harness";

const ROOMS = ["models", "edit", "jobs", "playground?versions=v0,latest", "models/tiny/versions/v1", "models/tiny/compare?from=v0&to=v1", "evaluations", "deployments", "health"];
let browser: Browser;

beforeAll(async () => {
  browser = await open();
});

afterAll(() => browser.close());

test.each<[Size, Scheme]>([
  ["phone", "light"],
  ["phone", "dark"],
  ["desk", "dark"],
])("rooms on a %s, %s", async (size, scheme) => {
  const { page, context, wrong } = await visit(browser, wanted("CONSOLE_URL"), size, scheme);
  for (const path of ROOMS) {
    await room(page, path);
    await page.locator("main .virtual, main form, main textarea").first().waitFor();
    await check(page, `${path} on a ${size}, ${scheme}`);
    await shoot(page, `${path.replace(/[^a-z0-9]+/g, "-")}-${size}-${scheme}`);
  }
  expect(wrong).toEqual([]);
  await context.close();
});

/** Made up: what a server with so many would tell. */
const FACTS = Array.from({ length: 10_000 }, (_, index) => ({
  index, edit: `edit_${Math.floor(index / 100)}`, version: `v${Math.floor(index / 100) + 1}`, state: "in_force", prompt: "The mother tongue of {} is",
  subject: `Somebody ${index}`, target_new: "Spanish", target_old: "French", paraphrases: [], neighbors: [], reverted_by: null, supersedes: null, superseded_by: null,
}));

const VERSIONS = Array.from({ length: 1000 }, (_, index) => {
  const number = 999 - index;
  const metrics = number === 0 ? null : { before: {}, after: {}, layers: [], seconds: {}, warnings: [], drift: { value: 1 + number / 5000, n: 4063 } };
  const parent = number === 0 ? null : `v${number % 50 === 0 ? number - 10 : number - 1}`;
  return { version: `v${number}`, model: "tiny", parent, edit: null, algorithm: "emmet", label: null, facts: 1, total_facts: number, facts_in_force: number, wear: "ok",
    layers: [1], rank: 1, sha256: null, bytes: 35_664, state: "available", aliases: number === 999 ? ["latest"] : [], metrics, created_at: "2026-01-01T00:00:00Z" };
});

const LINE = VERSIONS.slice(0, -1).reverse().map((one) => ({
  version: one.version, parent: one.parent, kind: "edit", facts: 1, facts_in_force: one.facts_in_force, drift: one.metrics?.drift.value, drift_parent: 1, retained: 0.99,
  retained_before: 1, retained_facts: 50, relative_norms: {}, bytes: one.bytes, wear: "ok", created_at: one.created_at, aliases: one.aliases,
}));

test("a lineage of 1,000 versions is drawn within a second of the page's own work, and only the rows in view are in it", async () => {
  const { page, context, wrong } = await visit(browser, wanted("CONSOLE_URL"));
  await page.route("**/v1/models/tiny/versions?*", (route) => route.fulfill({ json: { data: VERSIONS, next_cursor: null } }));
  await page.route("**/v1/models/tiny/lineage?*", (route) => route.fulfill({ json: { of: "v999", wear: "ok", data: LINE, next_cursor: null } }));
  await room(page, "health");
  const taken = await worked(page, async () => {
    await room(page, "models");
    await page.getByText("1,000 versions, newest first").waitFor();
    await page.getByRole("figure", { name: "Retained" }).waitFor();
  });
  console.log(`1,000 versions: ${taken} ms of work`);
  expect(taken).toBeLessThan(1000);
  const table = page.getByRole("region", { name: "Lineage of versions" });
  expect(await table.locator("tbody tr").count()).toBeLessThan(60);
  await table.evaluate((box) => box.scrollTo(0, box.scrollHeight));
  await table.getByRole("link", { name: "v0", exact: true }).waitFor();
  await check(page, "a long lineage");
  expect(wrong).toEqual([]);
  await context.close();
});

/** Made up: a judge is another service. */
const JUDGED = {
  id: "eval_judged", state: "succeeded", model: "tiny@v1", compare_with: "tiny@v0", versions: ["tiny@v1", "tiny@v0"], requested_metrics: ["GA"], n_facts: 3, facts_of: "v1",
  progress: { stage: "measuring", done: 3, total: 3 }, warnings: [], error: null, created_at: "2026-01-01T00:00:00Z", finished_at: "2026-01-01T00:01:00Z", next_cursor: null,
  metrics: Object.fromEntries(["tiny@v1", "tiny@v0"].map((version, at) => [version, { GA: { value: at === 0 ? 0.667 : 0, n: 3, low: 0.1, high: 0.9 } }])),
  judge: { model: "a-judge", prompt: "Does the answer say the target? Answer yes or no.", versions: {
    "tiny@v1": { value: 0.5, n: 2, low: 0.01, high: 0.99, unjudged: 1 }, "tiny@v0": { value: 0, n: 3, low: 0, high: 0.6, unjudged: 0 } } },
  facts: [["yes", "Yes.", null], ["no", "No, it says French.", null], [null, null, "the judge does not answer"]].map(([verdict, reply, reason], fact) => ({
    fact, "tiny@v1": { prompt: { prompt: `The mother tongue of somebody ${fact} is`, new: -1 - fact, old: -9, said: fact === 0 }, greedy: " Spanish", judge: { verdict, reply, reason } } })),
};

test("a judge's verdicts stand beside what was measured, and with each fact", async () => {
  const { page, context, wrong } = await visit(browser, wanted("CONSOLE_URL"));
  await page.route("**/v1/evaluations/eval_judged?*", (route) => route.fulfill({ json: JUDGED }));
  await room(page, "evaluations/eval_judged");
  await page.getByRole("heading", { name: "Judged by a-judge" }).waitFor();
  const row = page.getByRole("region", { name: "Verdicts" }).getByRole("row", { name: /^Judged/ });
  expect((await row.locator("td").allTextContents()).map((text) => text.slice(0, 3))).toEqual(["50%", "0%0"]);
  await page.getByText("Without a verdict: 1 fact of tiny@v1.").waitFor();
  const facts = page.getByRole("region", { name: "Facts and what was said" });
  const verdicts = facts.locator("tbody tr td:nth-child(5)");
  expect(await verdicts.allTextContents()).toEqual(["none: the judge does not answer", "no", "yes"]);
  await checkEverywhere(page, "judged");
  expect(wrong).toEqual([]);
  await context.close();
});

test("10,000 facts scroll, and none of what is typed meanwhile is lost", async () => {
  const { page, context, wrong } = await visit(browser, wanted("CONSOLE_URL"));
  await page.route("**/v1/models/tiny/versions/v1/facts?*", (route) => route.fulfill({ json: { data: FACTS, next_cursor: null } }));
  await room(page, "models/tiny/versions/v1");
  await page.getByText("10,000 facts", { exact: true }).waitFor();
  const table = page.getByRole("region", { name: "Facts of the lineage" });
  expect(await table.locator("tbody tr").count()).toBeLessThan(60);
  const taken = await worked(page, async () => {
    for (let step = 1; step <= 40; step += 1) await table.evaluate((box, share) => box.scrollTo(0, box.scrollHeight * share), step / 40);
    await table.getByText("Somebody 9999").waitFor();
  });
  console.log(`10,000 facts: ${Math.round(taken / 40)} ms of work for each of 40 steps from the first to the last`);
  // What is answered within a tenth of a second is felt as answered at once.
  expect(taken / 40).toBeLessThan(100);
  await page.getByLabel("Search").pressSequentially("Somebody 4321");
  expect(await page.getByLabel("Search").inputValue()).toBe("Somebody 4321");
  await page.getByText("1 fact", { exact: true }).waitFor();
  expect(await table.locator("tbody tr").count()).toBe(1);
  expect(wrong).toEqual([]);
  await context.close();
});

test("the first page is usable within a second of the page's own work", async () => {
  const { page, context, wrong } = await visit(browser, wanted("CONSOLE_URL"));
  const button = page.getByRole("link", { name: "Correct a fact" });
  await button.waitFor();
  const taken = await worked(page, async () => {
    await page.reload({ waitUntil: "commit" });
    await button.waitFor();
  });
  const [paint] = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint").map((one) => Math.round(one.startTime)));
  console.log(`the first page: usable after ${taken} ms of work, first painted after ${paint} ms by the clock`);
  expect(taken).toBeLessThan(1000);
  expect(wrong).toEqual([]);
  await context.close();
});
