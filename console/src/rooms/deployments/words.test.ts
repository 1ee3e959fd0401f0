import { expect, test } from "vitest";
import type { Deployment, DeploymentCheck } from "../../api/types";
import { agreed, countsOf, lagOf, targetIn, wrongWith } from "./words";

const CHECK: DeploymentCheck = {
  at: "2026-11-30T12:00:00Z", version: "v2", passed: true, facts: 20, said: 19, prompts: 20, equal: 17, near_ties: 2, different: 1, tolerance: 0.25, seconds: 3,
};

test("an engine's address is taken with or without the kind of engine before it", () => {
  expect(targetIn(" http://10.0.0.5:8000/ ")).toBe("vllm+http://10.0.0.5:8000");
  expect(targetIn("vllm+https://engine.example")).toBe("vllm+https://engine.example");
});

test("an address that cannot be one is told before it is sent", () => {
  for (const right of ["", "http://10.0.0.5:8000", "vllm+http://[::1]:8000/"]) expect(wrongWith(right)).toBeNull();
  for (const wrong of ["10.0.0.5:8000", "http://", "vllm+http://host:8000/v1", "tgi+http://host"]) expect(wrongWith(wrong)).toContain("vllm+http://");
});

test("what a check counted is told, near ties as agreeing", () => {
  expect(agreed(CHECK)).toBe("19 of 20 facts, 19 of 20 prompts");
  expect(agreed({ ...CHECK, facts: 1, said: 1 })).toBe("1 of 1 fact, 19 of 20 prompts");
  expect(agreed({ ...CHECK, facts: 0, said: 0 })).toBe("19 of 20 prompts");
  expect(countsOf(CHECK).map(({ count, of }) => [count, of])).toEqual([[19, 20], [17, 20], [2, 20], [1, 20]]);
});

test("the lag is told only where there is one", () => {
  expect(lagOf({ lag_seconds: 0 } as Deployment)).toBe("in step");
  expect(lagOf({ lag_seconds: 75 } as Deployment)).toBe("75 s behind");
});
