import { BarChart } from "../../parts/BarChart";
import { useJobs } from "../../state/queries";
import { seconds } from "../../text/numbers";
import { quantile } from "../../text/quantile";

/** In the order in which a batch passes them; a stage of a newer server comes last. */
const STAGES = ["queued", "plan", "values", "solve", "check", "publish"];

/** Where the time of the last edits went, by what the service measured of each. */
export function Latency() {
  const finished = (useJobs().data ?? []).filter((job) => job.metrics !== null);
  const stages = [...new Set([...STAGES, ...finished.flatMap((job) => Object.keys(job.metrics?.seconds ?? {}))])];
  const groups = stages.flatMap((stage) => {
    const took = finished.flatMap((job) => job.metrics?.seconds?.[stage] ?? []);
    if (took.length === 0) return [];
    return [{ name: stage, bars: [{ name: "median", value: quantile(took, 0.5) }, { name: "90th percentile", value: quantile(took, 0.9) }] }];
  });
  if (groups.length === 0) return null;
  return (
    <section aria-labelledby="latency">
      <h2 id="latency">Latency of edits</h2>
      <BarChart title={`By stage, of the last ${finished.length} that were measured`} groups={groups} format={seconds} />
    </section>
  );
}
