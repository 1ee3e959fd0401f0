import { expect, test } from "vitest";
import type { AliasRequest, CallerInfo } from "../../api/types";
import { changesOf, choicesOf, titleOf } from "./choices";

const request = (fields: Partial<AliasRequest> = {}): AliasRequest =>
  ({ alias: "production", expected: "v1", version: "v2", protected: null, approval: null, requested_by: "emk_1", ...fields }) as AliasRequest;
const caller = (id: string, ...scopes: CallerInfo["scopes"]): CallerInfo => ({ id, label: null, scopes, models: null });

test("another administrator approves and refuses", () => {
  expect(choicesOf(request(), caller("emk_2", "admin"))).toEqual({ mayApprove: true, mayRefuse: true, isOwn: false, hindrance: null });
});

test("whoever asked withdraws, also as an administrator", () => {
  for (const own of [caller("emk_1", "admin"), caller("emk_1", "edit")]) {
    expect(choicesOf(request(), own)).toMatchObject({ mayApprove: false, mayRefuse: true, isOwn: true });
  }
});

test("an editor sees what others asked for, and who decides it", () => {
  const choices = choicesOf(request(), caller("emk_3", "edit"));
  expect(choices).toMatchObject({ mayApprove: false, mayRefuse: false });
  expect(choices.hindrance).toContain("scope admin");
});

test("without keys nothing is approved", () => {
  expect(choicesOf(request(), caller("local", "admin")).mayApprove).toBe(false);
});

test("what would become different is said in words, and only that", () => {
  expect(changesOf(request())).toEqual([]);
  expect(changesOf(request({ protected: true }))).toEqual(["Only administrators move it from then on."]);
  expect(changesOf(request({ version: null, protected: false, approval: false }))).toEqual([
    "It is protected no longer.",
    "Later changes need no approval.",
  ]);
  expect(titleOf(request())).toBe("production: v1 → v2");
  expect(titleOf(request({ version: "v1", protected: true }))).toBe("production, which stays at v1");
});
