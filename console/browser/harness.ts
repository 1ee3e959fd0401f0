/** A real Chromium on a real server, and what no page may do: ask other origins, log errors, break its own policy. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { expect } from "vitest";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"];

export const PATIENCE = 120_000;
export const SIZES = { phone: { width: 390, height: 844 }, desk: { width: 1440, height: 900 } } as const;
export type Size = keyof typeof SIZES;
export type Scheme = "light" | "dark";

export function wanted(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: these tests are run by tests/console, which starts the servers`);
  return value;
}

export const open = (): Promise<Browser> => chromium.launch({ executablePath: wanted("CHROMIUM"), args: FLAGS });

export interface Seen {
  page: Page;
  context: BrowserContext;
  /** Requests to other origins, errors in the console, violations of the policy. */
  wrong: string[];
}

/** A page of a fresh session. `url` is where the console is served. */
export async function visit(browser: Browser, url: string, size: Size = "desk", scheme: Scheme = "light"): Promise<Seen> {
  // The policy of the page forbids what axe needs to be put into it; that it is kept is seen without axe, below.
  const context = await browser.newContext({ viewport: SIZES[size], colorScheme: scheme, reducedMotion: "reduce", bypassCSP: false });
  context.setDefaultTimeout(PATIENCE);
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`policy violated: ${event.violatedDirective} by ${event.blockedURI}`);
    });
  });
  const page = await context.newPage();
  const wrong: string[] = [];
  const origin = new URL(url).origin;
  page.on("request", (request) => {
    const asked = request.url();
    if (!asked.startsWith(origin) && !asked.startsWith("data:") && !asked.startsWith("blob:")) wrong.push(`asked ${asked}`);
  });
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") wrong.push(`${message.type()}: ${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => wrong.push(`raised ${error.message}`));
  await page.goto(url);
  return { page, context, wrong };
}

/** Answer the dialog that asks for a key. */
export async function give(page: Page, key: string): Promise<void> {
  await page.getByRole("dialog").getByLabel("Key").fill(key);
  await page.getByRole("button", { name: "Continue" }).click();
}

/** Go to a room by the address after #. */
export async function room(page: Page, path: string): Promise<void> {
  await page.evaluate((hash) => {
    location.hash = hash;
  }, `#/${path}`);
  await page.locator("main h1").first().waitFor();
}

/** Run through the inspector, which the page's policy does not bind. */
export async function axe(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  return page.evaluate(async () => {
    const run = (window as unknown as { axe: { run: (where: Document) => Promise<{ violations: { id: string; nodes: { html: string; failureSummary?: string }[] }[] }> } }).axe.run;
    const { violations } = await run(document);
    return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 200)} ${node.failureSummary ?? ""}`));
  });
}

/** Whether the page is wider than its window, so that one must scroll sideways to read it. */
export const isTooWide = (page: Page): Promise<boolean> =>
  page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth + 1);

/** Milliseconds that the page's own thread worked while `what` happened: what it took on a machine that does nothing
 * else. Time in which others had the processor does not count. */
export async function worked(page: Page, what: () => Promise<void>): Promise<number> {
  const inspector = await page.context().newCDPSession(page);
  await inspector.send("Performance.enable", { timeDomain: "threadTicks" });
  const taken = async (): Promise<number> => {
    const { metrics } = await inspector.send("Performance.getMetrics");
    return metrics.find((one) => one.name === "ThreadTime")?.value ?? metrics.find((one) => one.name === "TaskDuration")?.value ?? 0;
  };
  const before = await taken();
  await what();
  const after = await taken();
  await inspector.detach();
  return Math.round((after - before) * 1000);
}

export async function check(page: Page, where: string): Promise<void> {
  expect(await axe(page), `axe in ${where}`).toEqual([]);
  expect(await isTooWide(page), `${where} is wider than its window`).toBe(false);
}

/** Nothing is too wide, and axe finds nothing, on a phone and a desk, light and dark. */
export async function checkEverywhere(page: Page, name: string): Promise<void> {
  for (const size of ["phone", "desk"] as const) {
    for (const colorScheme of ["light", "dark"] as const) {
      await page.setViewportSize(SIZES[size]);
      await page.emulateMedia({ colorScheme });
      await check(page, `${name} on a ${size}, ${colorScheme}`);
      await shoot(page, `${name}-${size}-${colorScheme}`);
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
}

/** For the documentation, where a folder was named. */
export async function shoot(page: Page, name: string, isFromTop = true): Promise<void> {
  const folder = process.env["FIGURES"];
  if (isFromTop) await page.evaluate(() => scrollTo(0, 0));
  if (folder) await page.screenshot({ path: `${folder}/${name}.png`, fullPage: false });
}
