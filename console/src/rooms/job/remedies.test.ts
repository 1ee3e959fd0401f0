import { expect, test } from "vitest";
import type { EditJob } from "../../api/types";
import { heldAgainst } from "./remedies";

const measured = (value: number) => ({ value, n: 10 });

test("what a batch changes is held against its thresholds, and what its line has used up against the budget", () => {
  const job = {
    thresholds: { EM: 0.5, drift: 1.2, retained: 0.1 },
    budget: { drift: 1.5 },
    metrics: {
      after: { EM: measured(0.4) },
      drift: { value: 1.6, n: 10, parent: 1.1 },
      retained: { before: { EM: measured(0.9) }, after: { EM: measured(0.85) } },
    },
  } as unknown as EditJob;
  expect(heldAgainst(job).map((one) => [one.name, one.isMet, Number(one.value?.toFixed(2))])).toEqual([
    ["EM", false, 0.4],
    ["drift", true, 1.1],
    ["retained", true, 0.05],
    ["budget drift", false, 1.6],
  ]);
});

test("what was not measured is missed by nothing", () => {
  const job = { thresholds: { EM: 0.5, retained: 0.1 }, budget: {}, metrics: { after: {} } } as unknown as EditJob;
  expect(heldAgainst(job).every((one) => one.isMet)).toBe(true);
  expect(heldAgainst({ ...job, metrics: null })).toEqual([]);
});
