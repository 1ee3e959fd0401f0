/** Files, good and bad: what is wrong is said before anything is sent; a job is followed, another is cancelled. */

import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { check, open, room, shoot, visit, wanted } from "./harness";

const LANGUAGES = ["French", "English", "Spanish", "German"];
let browser: Browser;

beforeAll(async () => {
  browser = await open();
});

afterAll(() => browser.close());

/** A record of CounterFact's shape about somebody of the tokenizer's letters. */
const record = (number: number) => ({
  case_id: number,
  requested_rewrite: {
    prompt: "The mother tongue of {} is",
    subject: `Danielle Lyon ${number}`,
    target_new: { str: LANGUAGES[number % 4] },
    target_true: { str: LANGUAGES[(number + 1) % 4] },
  },
});

async function many(page: Page): Promise<void> {
  await room(page, "edit");
  await page.getByRole("button", { name: "Many facts" }).click();
}

const upload = (page: Page, name: string, text: string) =>
  page.getByLabel("A file").setInputFiles({ name, mimeType: "text/plain", buffer: Buffer.from(text) });

test("200 records with three bad ones: the three are named, left out, and the rest is a job; another is cancelled", async () => {
  const { page, context, wrong } = await visit(browser, wanted("CONSOLE_URL"));
  await many(page);
  const records = Array.from({ length: 200 }, (_, number) => record(number));
  records[17]!.requested_rewrite.subject = "";
  records[60]!.requested_rewrite.prompt = "Nobody is meant by this";
  records[150]!.requested_rewrite.target_new.str = records[150]!.requested_rewrite.target_true.str;
  await upload(page, "counterfact.json", JSON.stringify(records));
  await page.getByText("counterfact.json: JSON, 200 rows, 3 with errors.").waitFor();
  expect(await page.getByRole("button", { name: "Publish" }).isDisabled()).toBe(true);
  await page.getByLabel("Show only rows with errors").check();
  const lines = page.locator(".virtual tbody tr.bad");
  expect(await lines.locator("td:first-child").allTextContents()).toEqual(["18", "61", "151"]);
  expect(await lines.nth(1).textContent()).toContain("does not contain the subject");
  await page.getByLabel("Leave 3 rows with errors out").check();
  await check(page, "a file of facts");
  await shoot(page, "file");
  await page.getByText("Settings and thresholds").click();
  await page.getByLabel("steps", { exact: true }).fill("2");
  await page.getByRole("button", { name: "Publish 197 facts" }).click();
  await page.locator(".stages li[aria-current=step]").waitFor();
  const first = page.url();
  // Another one waits behind it, and is cancelled.
  await room(page, "edit");
  await page.getByRole("button", { name: "Publish 197 facts" }).waitFor();
  await page.getByLabel("Label (optional)").fill("to be cancelled");
  await page.getByRole("button", { name: "Publish 197 facts" }).click();
  await page.getByRole("heading", { name: /to be cancelled/ }).waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.locator("h1 .state", { hasText: "cancelled" }).waitFor();
  await page.goto(first);
  await page.locator("h1 .state", { hasText: /succeeded|rejected/ }).waitFor();
  await page.getByRole("heading", { name: "Before and after" }).waitFor();
  await check(page, "a job of many facts");
  expect(wrong).toEqual([]);
  await context.close();
});

test("questions without subjects have them offered, and what only the server sees is left out and listed", async () => {
  const { page, context, wrong } = await visit(browser, wanted("CONSOLE_URL"));
  await many(page);
  const rows = ["Where is Danielle Lyon?,Spain", "who knows?,nobody", `Where was ${"Lyon ".repeat(200)}born?,Spain`];
  await upload(page, "questions.csv", ["question,answer", ...rows].join("\n"));
  await page.getByText("questions.csv: CSV, 3 rows, 1 with errors.").waitFor();
  await page.getByText("no capitalised or quoted words to offer").waitFor();
  expect(await page.locator("tbody mark").first().textContent()).toBe("Danielle Lyon");
  await page.getByLabel("Leave 1 row with errors out").check();
  expect(await page.getByRole("button", { name: "Publish" }).isDisabled()).toBe(true);
  await page.getByLabel("Take the 2 subjects that were found in the prompts").check();
  await check(page, "subjects that were found");
  await shoot(page, "subjects");
  await page.getByRole("button", { name: "Try it" }).click();
  await page.getByRole("heading", { name: /Left out 1 fact/ }).waitFor();
  await page.getByText(/the model reads at most/).waitFor();
  await page.locator("h1 .state", { hasText: /succeeded|rejected/ }).waitFor();
  await check(page, "a job with facts that were left out");
  expect(wrong).toEqual([]);
  await context.close();
});

test("a wrong column is named, and 50,000 rows neither freeze the page nor can be sent", async () => {
  const { page, context } = await visit(browser, wanted("CONSOLE_URL"));
  await many(page);
  await upload(page, "wrong.csv", "prompt,subjekt,target_new\n{} is,Lyon,Spain\n");
  await page.getByText("Column “subjekt” is not known").waitFor();
  await page.evaluate(() => {
    // The longest time in which the page answered nothing.
    const seen = { longest: 0, last: performance.now() };
    (window as unknown as { seen: typeof seen }).seen = seen;
    setInterval(() => {
      seen.longest = Math.max(seen.longest, performance.now() - seen.last);
      seen.last = performance.now();
    }, 5);
  });
  const rows = Array.from({ length: 50_000 }, (_, number) => `The mother tongue of {} is,Somebody ${number},French`);
  await upload(page, "many.csv", ["prompt,subject,target_new", ...rows].join("\n"));
  await page.getByText("many.csv: CSV, 50,000 rows, all right.").waitFor();
  await page.getByText("50,000 facts, and at most 10,000 are taken at once").waitFor();
  expect(await page.getByRole("button", { name: "Publish" }).isDisabled()).toBe(true);
  const table = page.getByRole("region", { name: "Facts of the file" });
  expect(await table.locator("tbody tr").count()).toBeLessThan(100);
  const longest = await page.evaluate(() => (window as unknown as { seen: { longest: number } }).seen.longest);
  console.log(`50,000 rows: the page answered after ${Math.round(longest)} ms at the latest`);
  await table.evaluate((box) => box.scrollTo(0, box.scrollHeight));
  await table.getByText("Somebody 49999", { exact: true }).waitFor();
  await context.close();
});
