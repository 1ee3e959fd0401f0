import type { EditJob } from "../../api/types";
import { MetricsTable } from "../../parts/MetricsTable";
import { Notice } from "../../parts/Notice";
import { inUnit, meaningOf } from "../../text/metrics";
import { heldAgainst, isUpper, type Held } from "./remedies";

const MOST_NAMED = 50;

/** Why there is no version, what was missed with its remedy, and what to know besides. */
export function Trouble({ job }: { job: EditJob }) {
  const missed = heldAgainst(job).filter((one) => !one.isMet);
  return (
    <>
      {job.error && (
        <Notice kind="bad">
          <strong>{job.error.title}.</strong> {job.error.detail}
          {named(job.error.facts ?? [])}
          {missed.map((one) => (
            <p key={one.name}>
              <strong>{titleOf(one)}</strong> is {inUnit(one.metric, one.value)}, and must be {isUpper(one.name) ? "at most" : "at least"}{" "}
              {inUnit(one.metric, one.limit)}. {one.remedy}
            </p>
          ))}
        </Notice>
      )}
      {job.metrics?.warnings?.map((warning) => (
        <Notice key={warning.code} kind="warning">
          <strong>{sentence(warning.code)}.</strong> {sentence(warning.detail)}.
        </Notice>
      ))}
    </>
  );
}

/** What was measured before and after, and the thresholds that it was held against. */
export function Outcome({ job }: { job: EditJob }) {
  const metrics = job.metrics;
  if (!metrics) return null;
  const held = heldAgainst(job);
  const { reverted, retained, drift } = metrics;
  return (
    <section aria-labelledby="before-after">
      <h2 id="before-after">Before and after</h2>
      <div class="tables">
        <MetricsTable caption="The batch's own facts" columns={{ before: metrics.before, after: metrics.after }} />
        {reverted && (
          <MetricsTable
            caption="The facts that were taken out"
            columns={{ originally: reverted.original, before: reverted.before, after: reverted.after }}
          />
        )}
        {retained && <MetricsTable caption="Facts corrected earlier" columns={{ before: retained.before, after: retained.after }} />}
        {drift && <MetricsTable caption="Ordinary text" columns={{ after: { drift } }} />}
      </div>
      {!!metrics.restated && (
        <p>
          {metrics.restated === 1 ? "One subject of an earlier batch was" : `${metrics.restated} subjects of earlier batches were`} not
          said any more; written again.
        </p>
      )}
      {held.length > 0 && (
        <ul class="thresholds" aria-label="Thresholds">
          {held.map((one) => (
            <li key={one.name} class={one.isMet ? "right" : "wrong"}>
              {one.isMet ? "✓" : "✗"} {titleOf(one)} {isUpper(one.name) ? "at most" : "at least"} {inUnit(one.metric, one.limit)}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

const titleOf = (one: Held): string => (one.name === one.metric ? meaningOf(one.metric).title : one.title);

const named = (facts: readonly number[]): string =>
  facts.length === 0 ? "" : ` Facts: ${facts.slice(0, MOST_NAMED).join(", ")}${facts.length > MOST_NAMED ? ", …" : ""}.`;

/** "line_worn" and "facts 1: the subject …" as they begin and end a sentence. */
function sentence(text: string): string {
  const plain = text.replace(/\.$/, "");
  const words = /^[a-z_]+$/.test(plain) ? plain.replaceAll("_", " ") : plain;
  return words.charAt(0).toUpperCase() + words.slice(1);
}
