import { expect, test } from "vitest";
import type { VersionFact } from "../../api/types";
import { keyOf, revertOf } from "./ticked";

const fact = (edit: string, index: number, state = "in_force"): VersionFact =>
  ({ edit, index, version: edit.replace("e", "v"), state }) as unknown as VersionFact;

const FACTS = [fact("e1", 0), fact("e1", 1), fact("e2", 0), fact("e2", 1, "reverted"), fact("e3", 0), fact("e3", 1)];
const ticks = (...facts: [string, number][]) => new Set(facts.map(([edit, index]) => keyOf({ edit, index })));

test("some facts of one batch go by their indices", () => {
  expect(revertOf(FACTS, ticks(["e1", 1]))).toEqual({ edits: [], facts: [1], of: "v1" });
});

test("batches of which everything in force is ticked go whole", () => {
  expect(revertOf(FACTS, ticks(["e1", 0], ["e2", 0]))).toEqual({ edits: ["e2"], facts: [0], of: "v1" });
  expect(revertOf(FACTS, ticks(["e2", 0]))).toEqual({ edits: ["e2"], facts: [], of: null });
});

test("parts of several batches are no single revert", () => {
  expect(revertOf(FACTS, ticks(["e1", 0], ["e3", 0]))).toBeNull();
});
