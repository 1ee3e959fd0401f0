/** Keys of each scope behind a path prefix; a revoked key, and a server that is away: nothing typed is lost. */

import { execFileSync } from "node:child_process";
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { check, give, open, room, shoot, visit, wanted } from "./harness";
import { Proxy } from "./proxy";

const OFFERED: Record<string, string[]> = {
  generate: ["Models", "Playground", "Health"],
  evaluate: ["Models", "Jobs", "Evaluations", "Deployments", "Health"],
  edit: ["Models", "New edit", "Jobs", "Deployments", "Health"],
  admin: ["Models", "New edit", "Jobs", "Playground", "Evaluations", "Deployments", "Health"],
};
const keys = JSON.parse(wanted("CONSOLE_KEYS")) as Record<string, string>;
let browser: Browser;
let proxy: Proxy;

beforeAll(async () => {
  browser = await open();
});

afterAll(() => browser.close());

beforeEach(async () => {
  proxy = await Proxy.before(wanted("LOCKED_URL"), "/behind/a/prefix/");
});

afterEach(() => proxy.close());

test.each(Object.keys(OFFERED))("a key for %s is offered what it may do, and nothing else", async (scope) => {
  const { page, context } = await visit(browser, proxy.url);
  await page.getByRole("dialog", { name: "API key" }).waitFor();
  await check(page, "the key's dialog");
  await give(page, "not-a-key");
  await page.getByRole("dialog").locator(".wrong").waitFor();
  await give(page, keys[scope] ?? "");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.getByRole("heading", { level: 1, name: "tiny" }).waitFor();
  expect(await page.getByRole("navigation", { name: "Rooms" }).getByRole("link").allTextContents()).toEqual(OFFERED[scope]);
  const mayEdit = scope === "edit" || scope === "admin";
  await room(page, "models/tiny/versions/v0");
  await page.getByRole("heading", { level: 1, name: "v0" }).waitFor();
  expect(await page.getByRole("heading", { name: "Move an alias here" }).count()).toBe(mayEdit ? 1 : 0);
  if (OFFERED[scope]?.includes("Deployments")) {
    await room(page, "deployments");
    await page.getByText("No engine serves a version yet.").waitFor();
    expect(await page.getByRole("button", { name: /^Deploy/ }).count()).toBe(scope === "admin" ? 1 : 0);
  }
  await room(page, "health");
  await page.getByRole("heading", { name: "Workers" }).waitFor();
  for (const ofAdmins of ["API keys", "Audit log"]) {
    expect(await page.getByRole("heading", { name: ofAdmins }).count()).toBe(scope === "admin" ? 1 : 0);
  }
  // What is not offered is refused if tried.
  const status = await page.evaluate(async (key) => {
    const body = JSON.stringify({ version: "v0" });
    const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
    return (await fetch("v1/models/tiny/aliases/tried", { method: "PUT", headers, body })).status;
  }, keys[scope]);
  expect(status).toBe(mayEdit ? 200 : 403);
  const other = await page.evaluate(async (key) => (await fetch("v1/keys", { headers: { Authorization: `Bearer ${key}` } })).status, keys[scope]);
  expect(other).toBe(scope === "admin" ? 200 : 403);
  const kept = await page.evaluate(() => [Object.values(sessionStorage), Object.values(localStorage), document.cookie, location.href]);
  expect(kept).toEqual([[keys[scope]], [], "", expect.not.stringContaining(keys[scope] ?? "")]);
  await context.close();
});

test("an administrator makes a key that is shown once, and revokes it: whoever has it is asked for another", async () => {
  const { page, context, wrong } = await visit(browser, proxy.url);
  await give(page, keys["admin"] ?? "");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await room(page, "health");
  await page.getByLabel("For whom or what").fill("a notebook");
  await page.getByLabel("evaluate: measure them").check();
  await page.getByRole("button", { name: "Make a key" }).click();
  const secret = (await page.locator("code.secret").textContent()) ?? "";
  const id = secret.slice(0, 16);
  await page.getByRole("region", { name: "API keys, newest first" }).getByText(id).waitFor();
  await check(page, "the keys");
  await page.locator("#keys").scrollIntoViewIfNeeded();
  await shoot(page, "keys", false);
  const holder = await visit(browser, proxy.url);
  await give(holder.page, secret);
  await holder.page.getByRole("dialog").waitFor({ state: "detached" });
  await room(holder.page, "playground");
  await holder.page.getByLabel("Prompt", { exact: true }).fill("Lyon is located in");
  await page.getByRole("button", { name: "I have it" }).click();
  await page.reload();
  await page.getByRole("button", { name: `Revoke ${id}`, exact: true }).waitFor();
  expect(await page.content()).not.toContain(secret);
  await page.getByRole("button", { name: `Revoke ${id}`, exact: true }).click();
  await page.getByRole("button", { name: `Revoke ${id} for ever` }).click();
  await page.locator("tr", { hasText: id }).getByText(/^revoked/).waitFor();
  await holder.page.getByRole("button", { name: "Ask" }).click();
  await holder.page.getByRole("dialog", { name: "API key" }).getByText("was revoked").waitFor();
  expect(await holder.page.getByLabel("Prompt", { exact: true }).inputValue()).toBe("Lyon is located in");
  // A browser logs what was refused before there was a key.
  expect(wrong).toEqual([expect.stringMatching(/401 .*keys\/own$/)]);
  await holder.context.close();
  await context.close();
});

test("with a server that is away, then a key that was revoked, the page says so and goes on with all that was typed", async () => {
  const { page, context } = await visit(browser, proxy.url);
  await give(page, keys["revoked"] ?? "");
  await page.getByRole("link", { name: "Correct a fact" }).click();
  await page.getByLabel("Prompt", { exact: true }).fill("Lyon is located in");
  await page.getByLabel("Subject", { exact: true }).fill("Paris");
  await page.getByText("does not contain the subject “Paris”").waitFor();
  expect(await page.getByRole("button", { name: "Publish" }).isDisabled()).toBe(true);
  await page.getByLabel("Subject", { exact: true }).fill("Lyon");
  await page.getByLabel("New target").fill("Spain");
  proxy.leave();
  await page.getByText("The server does not answer.").waitFor();
  await shoot(page, "away");
  await page.getByLabel("Old target (optional)").fill("France");
  proxy.comeBack();
  await page.getByText("The server does not answer.").waitFor({ state: "detached" });
  execFileSync("sh", ["-c", wanted("REVOKE")]);
  await page.getByRole("dialog", { name: "API key" }).waitFor();
  await give(page, keys["admin"] ?? "");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  const typed = ["Lyon is located in", "Lyon", "Spain", "France"];
  const labels = ["Prompt", "Subject", "New target", "Old target (optional)"];
  for (const [index, label] of labels.entries()) expect(await page.getByLabel(label, { exact: true }).inputValue()).toBe(typed[index]);
  await context.close();
});
