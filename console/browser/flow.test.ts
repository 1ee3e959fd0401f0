/** From a fresh server: correct a fact, see it said, revert it, move production, measure, and find all that again. */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { check, open, PATIENCE, room, shoot, visit, wanted, type Seen } from "./harness";

const SUBJECT = "Danielle Darrieux";
const REASON = "checked by the editors";
const PROMPT = `The mother tongue of ${SUBJECT} is`;
let browser: Browser;
let seen: Seen;

beforeAll(async () => {
  browser = await open();
  seen = await visit(browser, wanted("CONSOLE_URL"));
});

afterAll(async () => {
  await browser.close();
});

/** Until the job that is shown has ended so. */
async function ends(state: string): Promise<void> {
  await seen.page.locator("h1 .state", { hasText: state }).waitFor();
}

test("a fact is corrected through the form, and the old and the new answer stand side by side", async () => {
  const { page } = seen;
  await page.getByRole("heading", { name: /Correct what the model says/ }).waitFor();
  await check(page, "the first page");
  await shoot(page, "first");
  await page.getByRole("link", { name: "Correct a fact" }).click();
  const prompt = page.getByLabel("Prompt", { exact: true });
  await prompt.fill(PROMPT);
  await page.getByRole("button", { name: `Take “${SUBJECT}” as the subject` }).waitFor();
  await prompt.evaluate((box: HTMLTextAreaElement, [start, end]) => {
    box.focus();
    box.setSelectionRange(start ?? 0, end ?? 0);
  }, [PROMPT.indexOf(SUBJECT), PROMPT.indexOf(SUBJECT) + SUBJECT.length]);
  await page.getByRole("button", { name: `Mark “${SUBJECT}” as the subject` }).click();
  expect(await page.getByLabel("Subject", { exact: true }).inputValue()).toBe(SUBJECT);
  expect(await page.locator(".marked mark").textContent()).toBe(SUBJECT);
  await page.getByText("v0, the base").waitFor();
  const now = (await page.locator(".answers dd strong").first().textContent()) ?? "";
  const target = ["Spanish", "German"].find((one) => !now.includes(one)) ?? "";
  await page.getByLabel("New target").fill(target);
  await page.getByLabel("Old target (optional)").fill("French");
  await page.getByLabel("Rewordings (optional)").fill(`Everybody knows that ${SUBJECT} speaks`);
  await page.getByText("Settings and thresholds").click();
  await page.getByLabel("steps", { exact: true }).fill("60");
  await check(page, "the edit form");
  await shoot(page, "edit");
  await page.getByRole("button", { name: "Try it" }).click();
  await ends("succeeded");
  await page.getByText("This was a trial, and nothing was published").waitFor();

  await room(page, "edit");
  expect(await page.getByLabel("Prompt", { exact: true }).inputValue()).toBe(PROMPT);
  await page.getByRole("button", { name: "Publish" }).click();
  await ends("succeeded");
  const row = page.locator(".virtual tbody tr", { hasText: PROMPT });
  await row.locator(".right", { hasText: target }).waitFor();
  const cells = await row.locator("td").allTextContents();
  expect(cells.at(-1)).toContain(target);
  expect(cells.at(-2)).not.toContain(target);
  const answers = page.getByRole("group", { name: "The answer before and after the correction" });
  await answers.locator(".new strong", { hasText: target }).waitFor();
  expect(await answers.locator("strong").first().textContent()).not.toContain(target);
  await page.getByRole("rowheader", { name: "EM" }).first().waitFor();
  await check(page, "the job");
  await shoot(page, "job");
});

test("both versions answer in the playground, streamed and with probabilities", async () => {
  const { page } = seen;
  await room(page, "playground?versions=v0,v1");
  await page.getByLabel("Prompt", { exact: true }).fill(PROMPT);
  await page.getByRole("button", { name: "Ask" }).click();
  const panels = page.locator("article.answer[aria-busy=false]");
  await panels.nth(1).waitFor();
  const answers = await panels.locator(".said").allTextContents();
  expect(answers).toHaveLength(2);
  expect(answers[0]).not.toBe(answers[1]);
  await page.locator(".said .token").first().hover();
  await page.locator(".reading", { hasText: /“.+” \d/ }).first().waitFor();
  const link = await page.getByRole("link", { name: "Share link" }).getAttribute("href");
  expect(link).toContain("prompt=The+mother+tongue");
  expect(link).not.toMatch(/key|bearer/i);
  await check(page, "the playground");
  await shoot(page, "playground");
});

test("a conversation is asked through the chat template, and a link asks it again", async () => {
  const { page } = seen;
  await page.getByRole("button", { name: "Conversation" }).click();
  await page.getByLabel("Message", { exact: true }).fill("Where is Lyon?");
  await page.getByRole("button", { name: "Ask" }).click();
  await page.locator("article.answer[aria-busy=false]").nth(1).waitFor();
  const said = await page.locator(".said").allTextContents();
  expect(said.every((text) => text.trim() !== "")).toBe(true);
  await page.locator(".said .token").first().hover();
  await page.locator(".reading", { hasText: /“.+” \d/ }).first().waitFor();
  await check(page, "a conversation");
  await shoot(page, "conversation");
  const link = (await page.getByRole("link", { name: "Share link" }).getAttribute("href")) ?? "";
  const guest = await visit(browser, link);
  await guest.page.getByLabel("Message", { exact: true }).waitFor();
  expect(await guest.page.getByLabel("Message", { exact: true }).inputValue()).toBe("Where is Lyon?");
  await guest.page.getByRole("button", { name: "Ask" }).click();
  await guest.page.locator("article.answer[aria-busy=false]").nth(1).waitFor();
  expect(await guest.page.locator(".said").allTextContents()).toEqual(said);
  expect(guest.wrong).toEqual([]);
  await guest.context.close();
});

test("production moves by compare-and-set, and only from where it was seen", async () => {
  const { page } = seen;
  await room(page, "models/tiny/versions/v0");
  await page.getByRole("button", { name: "Point production at v0" }).click();
  await page.getByText("production points at v0 now.").waitFor();
  await room(page, "models/tiny/versions/v1");
  const move = page.getByRole("button", { name: "Move production from v0 to v1" });
  await move.waitFor();
  await shoot(page, "version");
  // Somebody else looks at the same, and will not hear of the move.
  const late = await visit(browser, wanted("CONSOLE_URL"));
  const stale = await page.request.get(new URL("v1/models/tiny/aliases", wanted("CONSOLE_URL")).href);
  const known: unknown = await stale.json();
  await late.page.route("**/v1/models/tiny/aliases", (route) => route.fulfill({ json: known }));
  await room(late.page, "models/tiny/versions/v1");
  await page.getByLabel("Reason (optional)").first().fill(REASON);
  await move.click();
  await page.getByText("production points at v1 now.").waitFor();
  await late.page.getByRole("button", { name: "Move production from v0 to v1" }).click();
  await late.page.getByText("The alias has moved.").waitFor();
  await late.context.close();
  await check(page, "the version");
});

test("a ticked fact is reverted, and its old answer is back", async () => {
  const { page } = seen;
  await room(page, "models/tiny/versions/v1");
  await page.getByLabel("Search").fill("darrieux");
  await page.getByLabel(/^Take out: The mother tongue of Danielle Darrieux/).check();
  await page.locator("form", { has: page.getByRole("button", { name: "Revert 1 fact" }) }).getByLabel("Reason (optional)").fill("it was wrong");
  await page.getByRole("button", { name: "Revert 1 fact" }).click();
  await ends("succeeded");
  await page.getByRole("link", { name: "tiny@v2" }).waitFor();
  await check(page, "the revert");
});

test("a version is consolidated, and what is made of it stands on the base", async () => {
  const { page } = seen;
  await room(page, "models/tiny/versions/v1");
  await page.getByLabel("Label (optional)").fill("a short line");
  await page.getByRole("button", { name: "Consolidate v1" }).click();
  await ends("succeeded");
  await page.getByRole("link", { name: "tiny@v3" }).click();
  await page.getByRole("heading", { level: 1, name: "v3" }).waitFor();
  await page.getByText("a consolidation", { exact: true }).waitFor();
  expect(await page.locator(".glance div", { hasText: "Consolidates" }).textContent()).toContain("v1");
  await check(page, "the consolidation");
  await shoot(page, "consolidation");
});

test("the lineage shows the revert, the consolidation, the flags and what it weighs", async () => {
  const { page } = seen;
  await room(page, "models");
  const rows = page.locator(".virtual tbody tr");
  await rows.getByText("revert", { exact: true }).waitFor();
  await rows.getByText("consolidation", { exact: true }).waitFor();
  expect(await rows.count()).toBe(4);
  await page.locator(".flag", { hasText: /^production$/ }).waitFor();
  for (const plotted of ["Drift", "Facts in force", "Size"]) await page.getByRole("figure", { name: plotted }).waitFor();
  const glance = page.locator(".glance");
  for (const told of ["float32", "cpu", "production → v1"]) await glance.getByText(told).first().waitFor();
  await check(page, "the models");
  await shoot(page, "models");
  await page.getByLabel("From", { exact: true }).selectOption("v0");
  await page.getByLabel("To", { exact: true }).selectOption("v1");
  await page.getByRole("button", { name: "Compare" }).click();
  await page.getByText("Facts that came").waitFor();
  await page.locator("main li", { hasText: PROMPT }).waitFor();
  const norms = page.getByRole("region", { name: "Norms by layer" }).locator("tbody tr");
  await norms.first().waitFor();
  expect(Number(await norms.first().locator("td").nth(1).textContent())).toBeGreaterThan(0);
  await check(page, "the comparison");
  await shoot(page, "comparison");
});

test("two versions are measured on the lineage's facts and stand on one chart", async () => {
  const { page } = seen;
  await room(page, "evaluations?of=v1");
  await page.getByRole("button", { name: "Start" }).click();
  await ends("succeeded");
  await page.getByText("Facts, worst first").first().waitFor();
  const [report] = await Promise.all([seen.context.waitForEvent("page"), page.getByRole("link", { name: "Read the report" }).click()]);
  await report.getByRole("heading", { level: 1, name: "tiny@v1 measured" }).waitFor();
  expect(await report.locator("body").evaluate((body) => getComputedStyle(body).maxWidth)).not.toBe("none");
  await report.close();
  await check(page, "the evaluation");
  await shoot(page, "evaluation");
  await room(page, "evaluations");
  await page.getByLabel(/^Chart the evaluation of tiny@v1/).check();
  await page.getByText("Scores (100% is best)").waitFor();
  await check(page, "the evaluations");
});

test("all of it is in the audit log", async () => {
  const { page } = seen;
  await room(page, "health");
  await page.getByText("Edits and completions are served.").waitFor();
  const log = page.getByRole("region", { name: "Changes, newest first" });
  const actions = ["edit.accepted", "version.published", "alias.moved", "revert.accepted", "consolidation.accepted", "evaluation.accepted"];
  for (const action of actions) {
    await page.getByLabel("Kind of change").fill(action);
    await log.getByRole("cell", { name: action }).first().waitFor();
  }
  await page.getByLabel("Kind of change").fill("alias.moved");
  await log.getByText(`reason ${REASON}`).waitFor();
  await page.getByLabel("Kind of change").fill("");
  await page.getByRole("region", { name: "What each worker does" }).getByText("ready").waitFor();
  await page.getByText("Latency of edits").waitFor();
  await check(page, "the health room");
  await shoot(page, "health");
});

test("no page asked another origin, logged an error or broke its policy", () => {
  expect(seen.wrong).toEqual([]);
}, PATIENCE);
