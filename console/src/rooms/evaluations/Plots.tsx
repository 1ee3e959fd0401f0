import type { EvaluationSummary } from "../../api/types";
import { BarChart } from "../../parts/BarChart";
import { ratio } from "../../text/numbers";
import { barsOf } from "./rows";

/** Everything that was measured of one or several versions, on one chart a unit. */
export function Plots({ jobs }: { jobs: readonly EvaluationSummary[] }) {
  const shares = barsOf(jobs, false);
  const others = barsOf(jobs, true);
  return (
    <div class="charts">
      {shares.length > 0 && <BarChart title="Scores (1 is best)" groups={shares} format={ratio} most={1} />}
      {others.map((group) => (
        <BarChart
          key={group.name}
          title={group.name === "drift" ? "Drift: perplexity over the base's (1 is unchanged)" : "Entropy of generated text"}
          groups={[group]}
          format={ratio}
        />
      ))}
    </div>
  );
}
