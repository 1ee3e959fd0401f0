import { expect, test } from "vitest";
import type { LineageEntry } from "../api/types";
import { bytesIn, seriesOf } from "./series";

const entry = (version: string, told: Partial<LineageEntry>): LineageEntry => ({
  version, parent: "v0", kind: "edit", facts: 1, facts_in_force: 1, drift: null, drift_parent: null, retained: null,
  retained_before: null, retained_facts: 0, relative_norms: {}, bytes: 10, wear: "ok", created_at: "", aliases: [], ...told,
});

test("series begin at the base, and are left out where nothing is known", () => {
  const series = seriesOf([entry("v1", { drift: 1.1 }), entry("v3", { drift: 1.4, facts_in_force: 2 })]);
  expect(series.map((one) => one.name)).toEqual(["Drift", "Facts in force", "Size"]);
  expect(series[0]?.points).toEqual([
    { version: "v0", value: 1 },
    { version: "v1", value: 1.1 },
    { version: "v3", value: 1.4 },
  ]);
  expect(series[1]?.points.map((point) => point.value)).toEqual([0, 1, 2]);
});

test("what is retained of earlier facts has no value at the base", () => {
  const retained = seriesOf([entry("v1", {}), entry("v2", { retained: 0.9 })]).find((one) => one.name === "Retained");
  expect(retained?.points.map((point) => point.value)).toEqual([null, null, 0.9]);
});

test("bytes are those that a list tells, or delta and matrices together", () => {
  expect(bytesIn(12)).toBe(12);
  expect(bytesIn({ delta: 5, matrices: 7 })).toBe(12);
});
