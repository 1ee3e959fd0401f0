import { send } from "../../api/client";
import { offers, ownKey } from "../../api/offers";
import { Problem } from "../../api/problem";
import type { Worker } from "../../api/types";
import { Facts } from "../../parts/Facts";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { State } from "../../parts/State";
import { Title } from "../../parts/Title";
import { useWorkers } from "../../state/queries";
import { useResource } from "../../state/resource";
import { bytes, seconds } from "../../text/numbers";
import { named, samplesOf, type Sample } from "../../text/prometheus";
import { AuditLog } from "./AuditLog";
import { KeysPart } from "./KeysPart";
import { Latency } from "./Latency";

export function HealthRoom() {
  const ready = useResource("readyz", whatIsAwaited, () => 5);
  const metrics = useResource("metrics", async () => samplesOf(await (await send("get", "/metrics")).text()), () => 5);
  const samples = metrics.data ?? [];
  return (
    <>
      <Title name="Health">Whether everything answers, what waits, and who changed what.</Title>
      {ready.data !== undefined &&
        (ready.data === null ? <Notice kind="good">Edits and completions are served.</Notice> : <Notice kind="warning">{ready.data}</Notice>)}
      <ProblemNotice problem={metrics.problem} />
      <Numbers samples={samples} />
      <div class="cards">
        <Workers />
        <Queues samples={samples} />
      </div>
      {offers("get", "/v1/edits") && <Latency />}
      {offers("get", "/v1/keys") && ownKey.value?.models == null && <KeysPart />}
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
  const tasks = named(samples, "emmetd_tasks_running").filter((one) => one.value > 0);
  const ended = named(samples, "emmetd_edits_total").filter((one) => one.value > 0);
  if (samples.length === 0) return null;
  const rows = [
    ["Running now", tasks.length === 0 ? "nothing" : tasks.map((one) => `${one.labels["kind"]} ×${one.value}`).join(", ")],
    ["Edits that ended", ended.length === 0 ? "none yet" : ended.map((one) => `${one.value} ${one.labels["state"]}`).join(", ")],
    ["Versions take", bytes(sum("emmetd_store_bytes"))],
    ["Free for more", free !== undefined && bytes(free)],
  ] as const;
  return <Facts rows={rows} />;
}

function Workers() {
  const workers = useWorkers();
  return (
    <section class="card" aria-labelledby="workers">
      <h2 id="workers">Workers</h2>
      <ProblemNotice problem={workers.problem} />
      {workers.data?.length === 0 && <p class="soft">None is running. Start one with `emmetd worker`.</p>}
      {workers.data && workers.data.length > 0 && (
        <Table label="What each worker does" heads={["model", "state", "device", "memory", "works on"]} rows={workers.data.map(workerRow)} />
      )}
    </section>
  );
}

const workerRow = (worker: Worker) => ({
  key: worker.id,
  cells: [
    worker.model,
    <span key="state" title={worker.detail}>
      <State of={worker.stage} />
    </span>,
    worker.device,
    bytes(worker.memory_bytes),
    worker.busy_with ?? <span class="soft">nothing</span>,
  ],
});

function Queues({ samples }: { samples: readonly Sample[] }) {
  const depths = named(samples, "emmetd_queue_depth");
  const ages = new Map(named(samples, "emmetd_queue_oldest_age_seconds").map((one) => [one.labels["queue"], one.value]));
  if (depths.length === 0) return null;
  const rows = depths.map((one) => ({
    key: one.labels["queue"] ?? "",
    cells: [one.labels["queue"], one.value, seconds(ages.get(one.labels["queue"]) ?? null)],
  }));
  return (
    <section class="card" aria-labelledby="queues">
      <h2 id="queues">Queues</h2>
      <Table label="What waits in each queue" heads={["queue", "waiting", "oldest"]} rows={rows} />
    </section>
  );
}

function Table({ label, heads, rows }: { label: string; heads: readonly string[]; rows: readonly { key: string; cells: preact.ComponentChildren[] }[] }) {
  return (
    <div class="scroller" tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead>
          <tr>
            {heads.map((head) => (
              <th key={head} scope="col">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.key}>
              {row.cells.map((cell, index) => (
                <td key={heads[index]}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
