import { expect, test } from "vitest";
import type { LineagePoint, Version } from "../api/types";
import { lineOf, seriesOf } from "./series";

const version = (name: string, parent: string | null, drift: number | null): Version =>
  ({ version: name, parent, bytes: 10, metrics: drift === null ? null : { drift: { value: drift, n: 9 } } }) as unknown as Version;

const ALL = [version("v3", "v1", 1.4), version("v2", "v1", 1.2), version("v1", "v0", 1.1), version("v0", null, null)];

test("a line goes from the base by way of the parents", () => {
  expect(lineOf(ALL, "v3").map((one) => one.version)).toEqual(["v0", "v1", "v3"]);
  expect(lineOf(ALL, "v9")).toEqual([]);
});

test("series come from the versions, without those of which nothing is known", () => {
  const series = seriesOf(lineOf(ALL, "v3"), undefined);
  expect(series.map((one) => one.name)).toEqual(["drift", "size"]);
  expect(series[0]?.points.map((point) => point.value)).toEqual([1, 1.1, 1.4]);
});

test("series of the server's own are read whether they are numbers or measurements", () => {
  const told: LineagePoint[] = [
    { version: "v0", parent: null, facts: 0, drift: 1, retained: null, bytes: 0, created_at: "" },
    { version: "v1", parent: "v0", facts: 1, drift: { value: 1.1, n: 3 }, retained: { EM: { value: 0.9, n: 8 } }, bytes: { delta: 5, matrices: 7 }, created_at: "" },
  ];
  const series = seriesOf([], told);
  expect(Object.fromEntries(series.map((one) => [one.name, one.points[1]?.value]))).toEqual({ drift: 1.1, retained: 0.9, size: 12 });
});
