/** An evaluation's facts, worst first, and its measurements as a chart. */

import type { EvaluationJob, EvaluationSummary, Measurement } from "../../api/types";
import type { BarGroup } from "../../parts/BarChart";
import { isShare } from "../../text/metrics";

interface Reading {
  prompt: string;
  /** Log-probability of the new and of the old target. */
  new: number | null;
  old: number | null;
  said: boolean | null;
}

/** The judge's, of one fact: null has a reason. */
export interface Verdict {
  verdict: "yes" | "no" | null;
  reply: string | null;
  reason: string | null;
}

interface OfVersion {
  judge?: Verdict;
  prompt?: Reading;
  greedy?: string | null;
}

export interface Worst {
  fact: number;
  prompt: string;
  isSaid: boolean;
  logProbability: number | null;
  greedy: string;
  compared: string | null;
  /** Null where no judge was asked. */
  verdict: Verdict | null;
}

/** What is not said first, and within that the least likely. */
export function worstFacts(job: EvaluationJob): Worst[] {
  const rows = (job.facts ?? []) as ({ fact: number } & Record<string, OfVersion | number | undefined>)[];
  const of = (row: Record<string, unknown>, version: string | null) => (version ? (row[version] as OfVersion | undefined) : undefined);
  return rows
    .map((row): Worst => {
      const own = of(row, job.model);
      return {
        fact: row.fact,
        prompt: own?.prompt?.prompt ?? "",
        isSaid: own?.prompt?.said ?? false,
        logProbability: own?.prompt?.new ?? null,
        greedy: own?.greedy ?? "",
        compared: of(row, job.compare_with)?.greedy ?? null,
        verdict: own?.judge ?? null,
      };
    })
    .sort((one, other) => Number(one.isSaid) - Number(other.isSaid) || (one.logProbability ?? 0) - (other.logProbability ?? 0));
}

/** A group a metric, a bar a version: those that are shares, or those that are not. What counted nothing is left out. */
export function barsOf(jobs: readonly EvaluationSummary[], areShares: boolean): BarGroup[] {
  const versions = new Map<string, Record<string, Measurement>>();
  for (const job of jobs) {
    for (const [version, measured] of Object.entries(job.metrics ?? {})) {
      versions.set(version, { ...versions.get(version), ...measured });
    }
  }
  const metrics = [...new Set([...versions.values()].flatMap((measured) => Object.keys(measured)))];
  return metrics
    .filter((metric) => isShare(metric) === areShares && [...versions.values()].some((measured) => measured[metric]?.value != null))
    .map((metric) => ({
      name: metric,
      bars: [...versions].map(([version, measured]) => ({ name: version, ...interval(measured[metric]) })),
    }));
}

const interval = (measured: Measurement | undefined) => ({
  value: measured?.value ?? null,
  low: measured?.low ?? null,
  high: measured?.high ?? null,
});
