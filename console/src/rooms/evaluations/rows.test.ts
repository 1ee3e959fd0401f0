import { expect, test } from "vitest";
import type { EvaluationJob } from "../../api/types";
import { worstFacts } from "./rows";

const reading = (said: boolean, likely: number) => ({ prompt: { prompt: "Lyon is in", new: likely, old: null, said }, greedy: " France" });
const job = (...facts: Record<string, unknown>[]): EvaluationJob =>
  ({ model: "tiny@v1", compare_with: "tiny@v0", facts: facts.map((fact, number) => ({ fact: number, ...fact })) }) as unknown as EvaluationJob;

test("what is not said comes first, and of that the least likely", () => {
  const rows = worstFacts(job({ "tiny@v1": reading(true, -9) }, { "tiny@v1": reading(false, -1) }, { "tiny@v1": reading(false, -5) }));
  expect(rows.map((row) => row.fact)).toEqual([2, 1, 0]);
});

test("the judge's verdict stands with its fact, and its reason where there is none", () => {
  const judged = { verdict: "no", reply: "No.", reason: null };
  const unjudged = { verdict: null, reply: null, reason: "the judge does not answer" };
  const rows = worstFacts(job({ "tiny@v1": { ...reading(false, -3), judge: judged } }, { "tiny@v1": { ...reading(false, -2), judge: unjudged } }, { "tiny@v1": reading(false, -1) }));
  expect(rows.map((row) => row.verdict)).toEqual([judged, unjudged, null]);
});
