import { expect, test } from "vitest";
import { pathOf, rangeOf, scale, spread, ticks } from "./scale";

test("ticks are round and within the range", () => {
  expect(ticks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
  expect(ticks(1.02, 1.31, 4)).toEqual([1.1, 1.2, 1.3]);
  expect(ticks(3, 3, 4)).toEqual([3]);
});

test("a range is a little wider than what is there, and never below zero for what is not", () => {
  expect(rangeOf([])).toEqual([0, 1]);
  expect(rangeOf([0, 100])).toEqual([0, 108]);
  const [low, high] = rangeOf([2, null, 2]);
  expect((low + high) / 2).toBe(2);
});

test("a line is broken where a value is missing", () => {
  const y = scale(0, 10, 100, 0);
  expect(pathOf([{ x: 0, y: y(0) }, null, { x: 2, y: y(5) }, { x: 3, y: y(10) }])).toBe("M0.0 100.0M2.0 50.0L3.0 0.0");
});

test("of many places the first and the last are named", () => {
  expect(spread(3, 8)).toEqual([0, 1, 2]);
  expect(spread(1000, 3)).toEqual([0, 500, 999]);
});
