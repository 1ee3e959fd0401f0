import type { EditJob, Measurements } from "../../api/types";
import { MetricsTable } from "../../parts/MetricsTable";
import { Notice } from "../../parts/Notice";
import { ratio } from "../../text/numbers";
import { heldAgainst, isUpper } from "./remedies";

/** What was measured before and after, what was missed with its remedy, and what to know besides. */
export function Outcome({ job }: { job: EditJob }) {
  const metrics = job.metrics;
  const retained = (metrics as { retained?: { before?: Measurements; after?: Measurements } | null } | null)?.retained;
  const held = heldAgainst(job);
  const missed = held.filter((one) => !one.isMet);
  return (
    <>
      {job.error && (
        <Notice kind="bad">
          <strong>{job.error.title}.</strong> {job.error.detail}
          {(job.error.facts?.length ?? 0) > 0 && ` Facts: ${job.error.facts?.slice(0, 50).join(", ")}.`}
          {missed.map((one) => (
            <p key={one.name}>
              <strong>{one.name}</strong> is {ratio(one.value)}, and must be {isUpper(one.name) ? "at most" : "at least"} {ratio(one.limit)}. {one.remedy}
            </p>
          ))}
        </Notice>
      )}
      {metrics?.warnings?.map((warning) => (
        <Notice key={warning.code} kind="warning">
          <strong>{warning.code.replaceAll("_", " ")}:</strong> {warning.detail}
          {warning.facts.length > 0 && ` (facts ${warning.facts.slice(0, 50).join(", ")})`}
        </Notice>
      ))}
      {metrics && (
        <>
          <h2>Before and after</h2>
          <MetricsTable caption="The batch's own facts" columns={{ before: metrics.before, after: metrics.after }} />
          {metrics.reverted && (
            <MetricsTable
              caption="The facts that were taken out"
              columns={{ original: metrics.reverted.original, before: metrics.reverted.before, after: metrics.reverted.after }}
            />
          )}
          {retained && <MetricsTable caption="Facts corrected earlier" columns={{ before: retained.before, after: retained.after }} />}
          {metrics.drift && <MetricsTable caption="Ordinary text" columns={{ after: { drift: metrics.drift } }} />}
        </>
      )}
      {held.length > 0 && (
        <p class="soft">
          Thresholds:{" "}
          {held.map((one) => `${one.name} ${isUpper(one.name) ? "≤" : "≥"} ${one.limit} ${one.isMet ? "met" : "missed"}`).join(", ")}.
        </p>
      )}
    </>
  );
}
