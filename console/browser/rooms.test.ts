/** Every room on a phone and a desk, light and dark: nothing is too wide, and axe finds nothing. */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { check, open, room, shoot, visit, wanted, type Scheme, type Size } from "./harness";

const ROOMS = ["models", "edit", "jobs", "playground?versions=v0,latest", "models/tiny/versions/v1", "models/tiny/compare?from=v0&to=v1", "evaluations", "health"];
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
    if (["models", "edit", "health"].includes(path)) await shoot(page, `${path}-${size}-${scheme}`);
  }
  expect(wrong).toEqual([]);
  await context.close();
});

test("a lineage of 1,000 versions is drawn, and only the rows in view are in the page", async () => {
  const { page, context, wrong } = await visit(browser, wanted("CONSOLE_URL"));
  const data = Array.from({ length: 1000 }, (_, index) => {
    const number = 999 - index;
    const metrics = number === 0 ? null : { before: {}, after: {}, layers: [], seconds: {}, warnings: [], drift: { value: 1 + number / 5000, n: 4063 } };
    const parent = number === 0 ? null : `v${number % 50 === 0 ? number - 10 : number - 1}`;
    return { version: `v${number}`, model: "tiny", parent, edit: null, algorithm: "emmet", label: null, facts: 1, total_facts: number, layers: [1], rank: 1,
      sha256: null, bytes: 35_664, state: "available", aliases: [], metrics, created_at: "2026-01-01T00:00:00Z" };
  });
  await page.route("**/v1/models/tiny/versions?*", (route) => route.fulfill({ json: { data, next_cursor: null } }));
  await room(page, "health");
  await page.evaluate(() => {
    (window as unknown as { began: number }).began = performance.now();
  });
  await room(page, "models");
  await page.getByText("1,000 versions, newest first").waitFor();
  console.log(`1,000 versions: ${await page.evaluate(() => Math.round(performance.now() - (window as unknown as { began: number }).began))} ms`);
  const table = page.getByRole("region", { name: "Lineage of versions" });
  expect(await table.locator("tbody tr").count()).toBeLessThan(60);
  await table.evaluate((box) => box.scrollTo(0, box.scrollHeight));
  await table.getByRole("link", { name: "v0", exact: true }).waitFor();
  await check(page, "a long lineage");
  expect(wrong).toEqual([]);
  await context.close();
});
