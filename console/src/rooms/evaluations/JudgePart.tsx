import type { JudgeReport } from "../../api/types";
import { MetricsTable } from "../../parts/MetricsTable";
import { count } from "../../text/numbers";

/** What another model made of the answers, a column a version. */
export function JudgePart({ judge }: { judge: JudgeReport }) {
  const versions = Object.entries(judge.versions ?? {});
  const without = versions.filter(([, one]) => one.unjudged > 0).map(([version, one]) => `${count(one.unjudged, "fact")} of ${version}`);
  return (
    <section aria-labelledby="judge">
      <h2 id="judge">Judged by {judge.model}</h2>
      {versions.length === 0 ? (
        <p class="soft">Its verdicts are counted when the evaluation has ended.</p>
      ) : (
        <div class="tables">
          <MetricsTable caption="Verdicts" columns={Object.fromEntries(versions.map(([version, judged]) => [version, { judged }]))} />
        </div>
      )}
      {without.length > 0 && <p class="soft">Without a verdict: {without.join(", ")}. The reasons stand beside the facts.</p>}
      <details class="more">
        <summary>What the judge was asked</summary>
        <p class="said">{judge.prompt}</p>
      </details>
    </section>
  );
}
