import { beforeAll, expect, test, vi } from "vitest";

// The client reads where its page is when it is loaded; here is no page.
beforeAll(() => {
  vi.stubGlobal("document", { baseURI: "http://127.0.0.1/" });
  vi.stubGlobal("sessionStorage", { getItem: () => null });
});

test("an operation is met by any of its scopes, by admin, or by any key where it names none", async () => {
  const { isMet } = await import("./offers");
  expect(isMet([{ "API key": ["edit", "evaluate"] }], ["evaluate"])).toBe(true);
  expect(isMet([{ "API key": ["edit"] }], ["generate"])).toBe(false);
  expect(isMet([{ "API key": ["edit"] }], ["admin"])).toBe(true);
  expect(isMet([{ "API key": [] }], [])).toBe(true);
});

test("addresses are below the page's own, and names in them are escaped", async () => {
  const { address } = await import("./client");
  expect(address("/v1/models/{model}", { path: { model: "a/b?" }, query: { limit: 1, cursor: undefined } }).href).toBe(
    "http://127.0.0.1/v1/models/a%2Fb%3F?limit=1",
  );
});
