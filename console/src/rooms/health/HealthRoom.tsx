import { send } from "../../api/client";
import { offers } from "../../api/offers";
import { Problem } from "../../api/problem";
import { BarChart } from "../../parts/BarChart";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { useJobs } from "../../state/queries";
import { useResource } from "../../state/resource";
import { bytes, seconds } from "../../text/numbers";
import { named, samplesOf, type Sample } from "../../text/prometheus";
import { quantile } from "../../text/quantile";
import { AuditLog } from "./AuditLog";

export function HealthRoom() {
  const ready = useResource("readyz", whatIsAwaited, () => 5);
  const metrics = useResource("metrics", async () => samplesOf(await (await send("get", "/metrics")).text()), () => 5);
  const samples = metrics.data ?? [];
  return (
    <>
      <h1>Health</h1>
      {ready.data !== undefined &&
        (ready.data === null ? <Notice kind="good">Edits and completions are served.</Notice> : <Notice kind="warning">{ready.data}</Notice>)}
      <ProblemNotice problem={metrics.problem} />
      <Numbers samples={samples} />
      <Queues samples={samples} />
      {offers("get", "/v1/edits") && <Latency />}
      {offers("get", "/v1/audit") && <AuditLog />}
    </>
  );
}

/** Null where nothing is. */
async function whatIsAwaited(): Promise<string | null> {
  try {
    await send("get", "/readyz");
    return null;
  } catch (error) {
    if (error instanceof Problem && error.status === 503) return error.detail;
    throw error;
  }
}

function Numbers({ samples }: { samples: readonly Sample[] }) {
  const sum = (name: string) => named(samples, name).reduce((total, one) => total + one.value, 0);
  const free = named(samples, "emmetd_store_free_bytes")[0]?.value;
  const memory = named(samples, "process_resident_memory_bytes")[0]?.value;
  const workers = named(samples, "emmetd_worker_up");
  const tasks = named(samples, "emmetd_tasks_running").filter((one) => one.value > 0);
  const ended = named(samples, "emmetd_edits_total").filter((one) => one.value > 0);
  if (samples.length === 0) return null;
  return (
    <dl class="facts">
      <dt>Workers that are ready</dt>
      <dd>{workers.length === 0 ? "none" : workers.map((one) => `${one.labels["model"]}: ${one.value}`).join(", ")}</dd>
      <dt>Running now</dt>
      <dd>{tasks.length === 0 ? "nothing" : tasks.map((one) => `${one.labels["kind"]} ×${one.value}`).join(", ")}</dd>
      <dt>Edits that ended</dt>
      <dd>{ended.length === 0 ? "none" : ended.map((one) => `${one.value} ${one.labels["state"]}`).join(", ")}</dd>
      <dt>Versions weigh</dt>
      <dd>{bytes(sum("emmetd_store_bytes"))}</dd>
      {free !== undefined && (
        <>
          <dt>Free for more</dt>
          <dd>{bytes(free)}</dd>
        </>
      )}
      {memory !== undefined && (
        <>
          <dt>Memory of the API</dt>
          <dd>{bytes(memory)}</dd>
        </>
      )}
    </dl>
  );
}

function Queues({ samples }: { samples: readonly Sample[] }) {
  const depths = named(samples, "emmetd_queue_depth");
  const ages = new Map(named(samples, "emmetd_queue_oldest_age_seconds").map((one) => [one.labels["queue"], one.value]));
  if (depths.length === 0) return null;
  return (
    <section aria-labelledby="queues">
      <h2 id="queues">Queues</h2>
      <div class="scroller" tabIndex={0} role="region" aria-label="What waits in each queue">
        <table>
          <thead>
            <tr>
              <th scope="col">queue</th>
              <th scope="col" class="number">
                waiting
              </th>
              <th scope="col" class="number">
                oldest
              </th>
            </tr>
          </thead>
          <tbody>
            {depths.map((one) => (
              <tr key={one.labels["queue"]}>
                <th scope="row">{one.labels["queue"]}</th>
                <td class="number">{one.value}</td>
                <td class="number">{seconds(ages.get(one.labels["queue"]) ?? null)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

/** Where the time of the last edits went. */
function Latency() {
  const finished = (useJobs().data ?? []).filter((job) => job.metrics !== null);
  const stages = [...new Set(finished.flatMap((job) => Object.keys(job.metrics?.seconds ?? {})))];
  if (stages.length === 0) return null;
  const groups = stages.map((stage) => {
    const took = finished.flatMap((job) => job.metrics?.seconds?.[stage] ?? []);
    return { name: stage, bars: [{ name: "median", value: quantile(took, 0.5) }, { name: "90th percentile", value: quantile(took, 0.9) }] };
  });
  return (
    <section aria-labelledby="latency">
      <h2 id="latency">Latency of edits</h2>
      <BarChart title={`By stage, of the last ${finished.length} that were measured`} groups={groups} format={seconds} />
    </section>
  );
}
