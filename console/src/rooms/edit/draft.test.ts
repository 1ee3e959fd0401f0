import { expect, test } from "vitest";
import type { Setting } from "../../api/types";

import type { FactRow } from "../../facts/read";
import { factOf, requestOf, sentRows, settingError, settingValue } from "./draft";

const setting = (name: string, type: Setting["type"], limits: Partial<Setting> = {}): Setting =>
  ({ name, type, default: null, description: "", ...limits }) as Setting;

test("settings are sent in their own types, and left out where nothing was typed", () => {
  const settings = [setting("layers", "list of integers"), setting("steps", "integer"), setting("strict", "boolean"), setting("mu", "number")];
  const chosen = { algorithm: "emmet", settings: { layers: "8, 9", steps: "60", strict: "false", mu: " " }, thresholds: { EM: "0.8", drift: "" }, label: " x " };
  const facts = [factOf({ prompt: "Lyon is in", subject: "Lyon", near: 0, targetNew: "Spain", targetOld: "", rewordings: "a\n\nb " })];
  expect(requestOf("tiny", facts, chosen, settings, { isTrial: true, leavesOut: false })).toEqual({
    model: "tiny",
    facts: [{ prompt: "{} is in", subject: "Lyon", target_new: "Spain", paraphrases: ["a", "b"] }],
    algorithm: "emmet",
    settings: { layers: [8, 9], steps: 60, strict: false },
    thresholds: { EM: 0.8 },
    label: "x",
    dry_run: true,
  });
});

test("what is not of a setting's type or range is named", () => {
  expect(settingValue(setting("steps", "integer"), "2.5")).toBeUndefined();
  expect(settingError(setting("steps", "integer", { maximum: 500 }), "501")).toBe("must be at most 500");
  expect(settingError(setting("lr", "number", { exclusive_minimum: 0 }), "0")).toBe("must be above 0");
  expect(settingError(setting("layers", "list of integers"), "8 x")).toContain("is no list of integers");
});

test("rows are sent when what is wrong is left out and what was found is taken", () => {
  const fact = { prompt: "{} is", subject: "Lyon", target_new: "x" };
  const row = (told: Partial<FactRow>): FactRow => ({ line: 1, fact, shown: "", errors: [], isOffered: false, ...told });
  const rows = [row({}), row({ line: 2, isOffered: true }), row({ line: 3, errors: [{ field: "subject", message: "is empty" }] })];
  const read = { format: "CSV", rows, error: null };
  expect(sentRows(read, false, true)).toEqual([]);
  expect(sentRows(read, true, false)).toEqual([]);
  expect(sentRows(read, true, true).map((one) => one.line)).toEqual([1, 2]);
  expect(sentRows(null, true, true)).toEqual([]);
});
