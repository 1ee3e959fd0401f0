/** An alias that demands approval: one key asks for its move, another refuses, asks again is approved. */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { check, checkEverywhere, give, open, room, shoot, visit, wanted, type Seen } from "./harness";

const keys = JSON.parse(wanted("CONSOLE_KEYS")) as Record<string, string>;
let browser: Browser;

beforeAll(async () => {
  browser = await open();
});

afterAll(() => browser.close());

async function as(who: string): Promise<Seen> {
  const seen = await visit(browser, wanted("LOCKED_URL"));
  await give(seen.page, keys[who] ?? "");
  await seen.page.getByRole("dialog").waitFor({ state: "detached" });
  return seen;
}

/** Errors but for that of the first page, which was asked for before there was a key. */
const errorsOf = (seen: Seen): string[] => seen.wrong.filter((one) => !/401 .*keys\/own$/.test(one));

async function ask({ page }: Seen, reason: string): Promise<void> {
  await room(page, "models/tiny/versions/v1");
  await page.getByRole("combobox", { name: "Alias" }).selectOption("reviewed");
  await page.getByText("Each move needs another key's approval.").waitFor();
  await page.locator("form", { has: page.getByRole("combobox", { name: "Alias" }) }).getByLabel("Reason (optional)").fill(reason);
  await page.getByRole("button", { name: "Ask to move reviewed from v0 to v1" }).click();
  await page.getByText("reviewed stays at v0: the move to v1 waits for another key's approval.").waitFor();
}

test("a move that takes two is asked for, refused with a reason, asked for again and approved", async () => {
  const editor = await as("edit");
  await room(editor.page, "models/tiny/requests");
  await editor.page.getByText("Nothing waits.").waitFor();
  await checkEverywhere(editor.page, "requests-empty");
  await editor.page.setViewportSize({ width: 1440, height: 900 });
  await ask(editor, "the names are right now");
  await check(editor.page, "an alias whose move waits");
  await editor.page.locator("#alias").scrollIntoViewIfNeeded();
  await shoot(editor.page, "waiting", false);
  await editor.page.getByRole("link", { name: "See what waits" }).click();
  await editor.page.getByText("You asked for it. Another administrator's key approves it.").waitFor();
  expect(await editor.page.getByRole("button", { name: "Approve" }).count()).toBe(0);
  expect(await editor.page.getByRole("button", { name: "Withdraw" }).count()).toBe(1);

  const admin = await as("admin");
  await admin.page.getByText("A change waits for approval.").waitFor();
  await check(admin.page, "a model with a change that waits");
  await admin.page.getByRole("link", { name: "Look at it" }).click();
  await admin.page.getByRole("heading", { name: "reviewed: v0 → v1" }).waitFor();
  await admin.page.getByText("the names are right now").waitFor();
  await checkEverywhere(admin.page, "requests");
  await admin.page.setViewportSize({ width: 1440, height: 900 });
  await shoot(admin.page, "requests");
  await admin.page.getByLabel("Reason (optional)").fill("measure it first");
  await admin.page.getByRole("button", { name: "Refuse" }).click();
  await admin.page.getByText("Refused: reviewed: v0 → v1.").waitFor();
  await admin.page.getByText("Nothing waits.").waitFor();
  const decided = admin.page.getByRole("region", { name: "Changes that were asked for, newest first" });
  await decided.getByRole("cell", { name: "measure it first" }).waitFor();

  await ask(editor, "it was measured");
  await room(admin.page, "models");
  await room(admin.page, "models/tiny/requests");
  await admin.page.getByLabel("Reason (optional)").fill("holds");
  await admin.page.getByRole("button", { name: "Approve" }).click();
  await admin.page.getByText("Approved: reviewed: v0 → v1.").waitFor();
  await decided.getByRole("cell", { name: "holds" }).waitFor();
  await check(admin.page, "what was decided");
  await shoot(admin.page, "requests-decided");
  await room(admin.page, "models/tiny/versions/v1");
  await admin.page.locator("h1 .flag", { hasText: "reviewed" }).waitFor();
  for (const seen of [editor, admin]) {
    expect(errorsOf(seen)).toEqual([]);
    await seen.context.close();
  }
});

test("whoever asked takes it back", async () => {
  const editor = await as("edit");
  const asked = await editor.page.request.put(new URL("v1/models/tiny/aliases/reviewed", wanted("LOCKED_URL")).href, {
    data: { version: "v0", expected: "v1" },
    headers: { Authorization: `Bearer ${keys["edit"]}` },
  });
  expect(asked.status()).toBe(202);
  await room(editor.page, "models/tiny/requests");
  await editor.page.getByRole("button", { name: "Withdraw" }).click();
  await editor.page.getByText("Withdrawn: reviewed: v1 → v0.").waitFor();
  expect(errorsOf(editor)).toEqual([]);
  await editor.context.close();
});

test("with a key, an evaluation's report is fetched and saved", async () => {
  const reader = await as("evaluate");
  await room(reader.page, `evaluations/${wanted("EVALUATION")}`);
  const saved = reader.page.waitForEvent("download");
  await reader.page.getByRole("button", { name: "Save the report" }).click();
  const file = await saved;
  expect(file.suggestedFilename()).toBe(`${wanted("EVALUATION")}.html`);
  const stream = await file.createReadStream();
  const text = (await stream.toArray()).join("");
  expect(text).toContain("<h1>tiny@v1 measured</h1>");
  expect(errorsOf(reader)).toEqual([]);
  await reader.context.close();
});
