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
