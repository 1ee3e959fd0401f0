/** Which thresholds a batch missed, and what helps. */

import type { EditJob, Measurements } from "../../api/types";

export interface Held {
  name: string;
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
  budget: "Consolidate the line, or raise the budget.",
};

export function heldAgainst(job: EditJob): Held[] {
  const metrics = job.metrics as (EditJob["metrics"] & { retained?: { after?: Measurements | null } | null }) | null;
  if (!metrics) return [];
  return Object.entries(job.thresholds).map(([name, limit]) => {
    const value = valueOf(name, metrics);
    const isMet = value === null || (isUpper(name) ? value <= limit : value >= limit);
    return { name, limit, value, isMet, remedy: REMEDIES[name] ?? "Loosen the threshold, or change the settings." };
  });
}

export const isUpper = (name: string): boolean => name === "drift" || name.startsWith("budget");

function valueOf(name: string, metrics: NonNullable<EditJob["metrics"]> & { retained?: { after?: Measurements | null } | null }): number | null {
  if (name === "drift") {
    const drift = metrics.drift as { value: number | null; parent?: number | null } | null | undefined;
    return drift?.parent ?? drift?.value ?? null;
  }
  if (name === "retained") return metrics.retained?.after?.["EM"]?.value ?? null;
  return metrics.after?.[name]?.value ?? null;
}
