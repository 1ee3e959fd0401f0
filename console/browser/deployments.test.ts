/** An engine elsewhere is given an alias, answers as here, follows it, answers otherwise, and is let go. */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { check, checkEverywhere, open, room, shoot, visit, wanted, type Seen } from "./harness";

const ENGINE = wanted("ENGINE");
let browser: Browser;
let seen: Seen;

beforeAll(async () => {
  browser = await open();
  seen = await visit(browser, wanted("CONSOLE_URL"));
});

afterAll(() => browser.close());

async function point(alias: string, version: string): Promise<void> {
  const answer = await seen.page.request.put(new URL(`v1/models/tiny/aliases/${alias}`, wanted("CONSOLE_URL")).href, { data: { version } });
  expect(answer.status()).toBe(200);
}

test("an alias is deployed through the form, and its answers there are compared with those here", async () => {
  const { page } = seen;
  await point("elsewhere", wanted("VERSION"));
  await room(page, "deployments");
  await page.getByText("No engine serves a version yet.").waitFor();
  await checkEverywhere(page, "deployments-empty");
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.getByLabel("Serve").selectOption("elsewhere");
  await page.getByLabel("Engine's address").fill("10.0.0.5:8000");
  await page.getByText("Write scheme, host and port").waitFor();
  expect(await page.getByRole("button", { name: "Deploy elsewhere" }).isDisabled()).toBe(true);
  await page.getByLabel("Engine's address").fill("http://127.0.0.1:1");
  await page.getByRole("button", { name: "Deploy elsewhere" }).click();
  await page.getByText("is not an engine that versions may be deployed to").waitFor();
  await page.getByLabel("Engine's address").fill(ENGINE);
  await page.getByText("Name, format, folder and key").click();
  await page.getByLabel("Engine's own key (optional)").fill("sk-engine");
  await check(page, "the form of a deployment");
  await page.getByRole("button", { name: "Deploy elsewhere" }).click();
  await page.locator("h1 .state", { hasText: "deployed" }).waitFor();
  await page.locator("h2 .state", { hasText: "agree" }).waitFor();
  const said = page.getByRole("row", { name: /^Facts said there/ });
  expect(await said.locator("td").first().textContent()).toMatch(/^1\sof\s1$/);
  const alike = page.getByRole("row", { name: /^Ordinary prompts answered alike/ });
  expect(await alike.locator("td").first().textContent()).toMatch(/^20\sof\s20$/);
  expect(await page.content()).not.toContain("sk-engine");
  await checkEverywhere(page, "deployment");
  await page.setViewportSize({ width: 1440, height: 900 });
  await shoot(page, "deployment");
});

test("an engine that answers otherwise keeps what it served, and the list says so", async () => {
  const { page } = seen;
  // The stand-in answers of the base what nobody says here.
  await point("elsewhere", "v0");
  await page.locator("h1 .state", { hasText: "rolled back" }).waitFor();
  await page.locator("h2 .state", { hasText: "differ" }).waitFor();
  await page.getByRole("region", { name: "Changes of its state, newest first" }).getByText("rolled back").first().waitFor();
  await check(page, "a deployment that was rolled back");
  await shoot(page, "deployment-rolled-back");
  await page.getByRole("link", { name: "Deployments" }).first().click();
  const row = page.getByRole("region", { name: "Deployments, newest first" }).locator("tbody tr");
  await row.getByText("rolled back").waitFor();
  await row.getByText(/behind$/).waitFor();
  await checkEverywhere(page, "deployments");
  await page.setViewportSize({ width: 1440, height: 900 });
  await row.getByRole("link", { name: "tiny@elsewhere" }).click();
});

test("it is removed when that was said twice, and stands in the audit log", async () => {
  const { page } = seen;
  await page.getByRole("button", { name: "Remove this deployment" }).click();
  await page.getByRole("button", { name: "Remove this deployment for good" }).click();
  await page.getByText("No engine serves a version yet.").waitFor();
  await room(page, "health");
  await page.getByLabel("Kind of change").fill("deployment.removed");
  await page.getByRole("region", { name: "Changes, newest first" }).getByRole("cell", { name: "deployment.removed" }).waitFor();
  // A target that is refused is an error in the browser's log.
  expect(seen.wrong.filter((one) => !/422 .*deployments$/.test(one))).toEqual([]);
});
