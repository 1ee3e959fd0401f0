import type { EvaluationSummary } from "../../api/types";
import { BarChart } from "../../parts/BarChart";
import { meaningOf } from "../../text/metrics";
import { percent, ratio } from "../../text/numbers";
import { barsOf } from "./rows";

/** Everything that was measured of one or several versions, on one chart a unit. */
export function Plots({ jobs }: { jobs: readonly EvaluationSummary[] }) {
  const shares = barsOf(jobs, true);
  return (
    <div class="charts">
      {shares.length > 0 && (
        <BarChart title="Scores (100% is best)" groups={shares} format={(value) => (value === null ? "–" : percent(value))} most={1} />
      )}
      {barsOf(jobs, false).map((group) => (
        <BarChart key={group.name} title={`${meaningOf(group.name).title}: ${meaningOf(group.name).meaning}`} groups={[group]} format={ratio} />
      ))}
    </div>
  );
}
