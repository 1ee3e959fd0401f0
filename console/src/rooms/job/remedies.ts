/** Which thresholds a batch missed, and what helps. */

import type { EditJob } from "../../api/types";

export interface Held {
  name: string;
  /** Whose unit its value and limit have. */
  metric: string;
  title: string;
  limit: number;
  value: number | null;
  isMet: boolean;
  remedy: string;
}

const REMEDIES: Record<string, string> = {
  EM: "Raise steps or repair_rounds, edit more layers, or give targets as the text would go on.",
  GA: "Raise steps, or give the target as the model would say it.",
  ES: "Raise steps, or edit more layers.",
  PS: "Raise contexts, so that values hold in other surroundings.",
  NS: "Lower clamp, or raise kl_factor.",
  drift: "Send fewer facts at once, raise mu_relative, or edit other layers.",
  retained: "Consolidate the line, or send fewer facts at once.",
  "budget drift": "Consolidate the line, or raise the budget.",
};
const RETAINED = "retained";
const BUDGET = "budget ";

/** Thresholds on what the batch changes, and the budget of its lineage. */
export function heldAgainst(job: EditJob): Held[] {
  if (!job.metrics) return [];
  const budget = Object.entries(job.budget ?? {}).map(([name, limit]) => [`${BUDGET}${name}`, limit] as const);
  return [...Object.entries(job.thresholds), ...budget].map(([name, limit]) => {
    const value = valueOf(name, job.metrics!);
    const isMet = value === null || (isUpper(name) ? value <= limit : value >= limit);
    const remedy = REMEDIES[name] ?? "Loosen the threshold, or change the settings.";
    return { name, metric: metricOf(name), title: titleOf(name), limit, value, isMet, remedy };
  });
}

export const isUpper = (name: string): boolean => name === "drift" || name === RETAINED || name.startsWith(BUDGET);

const metricOf = (name: string): string => (name === RETAINED ? "EM" : name.replace(BUDGET, ""));

const titleOf = (name: string): string =>
  name === RETAINED ? "Loss of earlier facts" : name.startsWith(BUDGET) ? `Whole line's ${metricOf(name)}` : name;

/** Drift is against the parent, the budget's against the base; of earlier facts it is how many are lost. */
function valueOf(name: string, metrics: NonNullable<EditJob["metrics"]>): number | null {
  if (name === "budget drift") return metrics.drift?.value ?? null;
  if (name === "drift") return metrics.drift?.parent ?? metrics.drift?.value ?? null;
  if (name === RETAINED) {
    const before = metrics.retained?.before?.["EM"]?.value ?? null;
    const after = metrics.retained?.after?.["EM"]?.value ?? null;
    return before === null || after === null ? null : before - after;
  }
  return metrics.after?.[name]?.value ?? null;
}
