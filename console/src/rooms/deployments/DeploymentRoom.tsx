import { remove } from "../../api/client";
import { offers } from "../../api/offers";
import type { Deployment, DeploymentEvent } from "../../api/types";
import { useAction } from "../../parts/action";
import { Facts, type Fact } from "../../parts/Facts";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { State } from "../../parts/State";
import { Title } from "../../parts/Title";
import { TwiceButton } from "../../parts/TwiceButton";
import { VirtualTable, type Column } from "../../parts/VirtualTable";
import { go, href } from "../../router";
import { useDeployment, useDeploymentEvents } from "../../state/queries";
import { refreshAll } from "../../state/resource";
import { when } from "../../text/numbers";
import { CheckPart } from "./CheckPart";
import { agreed, lagOf, meaningOf } from "./words";

const PATH = "/v1/deployments/{deployment_id}";
const ROW = 36;

export function DeploymentRoom({ id }: { id: string }) {
  const shown = useDeployment(id);
  const deployment = shown.data;
  return (
    <>
      <p class="crumbs">
        <a href={href("deployments")}>Deployments</a>
      </p>
      {deployment ? <Shown deployment={deployment} /> : <h1>Deployment</h1>}
      <ProblemNotice problem={shown.problem} />
    </>
  );
}

function Shown({ deployment }: { deployment: Deployment }) {
  const { state, error, last_check: check } = deployment;
  return (
    <>
      <Title
        name={
          <>
            {deployment.model} <State of={state} />
          </>
        }
      >
        At {deployment.target}: {meaningOf(state)}.
      </Title>
      {error && (
        <Notice kind={state === "refused" || state === "rolled_back" ? "bad" : "warning"}>
          <strong>{error.title}.</strong> {error.detail}
        </Notice>
      )}
      <AtAGlance deployment={deployment} />
      {check ? <CheckPart check={check} /> : <p class="soft">Its answers have not been compared yet.</p>}
      <Events id={deployment.id} />
      <RemovePart deployment={deployment} />
    </>
  );
}

function AtAGlance({ deployment }: { deployment: Deployment }) {
  const [model = ""] = deployment.model.split("@");
  const link = (version: string | null) => version && <a href={href("models", model, "versions", version)}>{version}</a>;
  const rows: Fact[] = [
    ["Serves", link(deployment.actual) ?? "nothing yet"],
    ["Shall serve", link(deployment.desired)],
    ["Lag", <span key="lag" class={deployment.lag_seconds > 0 ? "wrong" : "right"}>{lagOf(deployment)}</span>],
    ["Served before", link(deployment.previous)],
    ["Name there", deployment.name],
    ["Format", deployment.format],
    ["Key", deployment.has_key && "one of its own"],
    ["Answered last", deployment.last_seen_at && <time key="seen" dateTime={deployment.last_seen_at}>{when(deployment.last_seen_at)}</time>],
    ["Tried again", deployment.next_try_at && deployment.attempts > 0 && <time key="next" dateTime={deployment.next_try_at}>{when(deployment.next_try_at)}</time>],
    ["Files", deployment.path && <code key="path" title={deployment.path}>…/{deployment.path.split("/").slice(-2).join("/")}</code>],
  ];
  return <Facts rows={rows} />;
}

function Events({ id }: { id: string }) {
  const events = useDeploymentEvents(id);
  return (
    <section aria-labelledby="events">
      <h2 id="events">How it came to this</h2>
      <ProblemNotice problem={events.problem} />
      {events.data && <VirtualTable label="Changes of its state, newest first" rows={events.data} columns={COLUMNS} rowHeight={ROW} height={Math.min(400, events.data.length * ROW + 60)} />}
    </section>
  );
}

const COLUMNS: Column<DeploymentEvent>[] = [
  { head: "when", cell: (one) => <time dateTime={one.at}>{when(one.at)}</time> },
  { head: "state", cell: (one) => <State of={one.state} /> },
  { head: "version", cell: (one) => one.version },
  { head: "answers as here", cell: (one) => one.check && agreed(one.check) },
  { head: "detail", class: "widest", cell: (one) => one.detail && <span title={one.detail}>{one.detail}</span> },
];

/** The engine is told to serve its adapter no more. */
function RemovePart({ deployment }: { deployment: Deployment }) {
  const end = useAction(async () => {
    await remove(PATH, { path: { deployment_id: deployment.id } });
    for (const changed of ["deployments", "audit"]) refreshAll(changed);
    go("deployments");
  });
  if (!offers("delete", PATH)) return null;
  return (
    <section class="card" aria-labelledby="remove">
      <h2 id="remove">Remove it</h2>
      <p class="soft">It follows no alias any more, and the engine is told to unload the adapter. An engine that does not answer goes on serving it.</p>
      <TwiceButton
        texts={["Remove…", `Remove it from ${deployment.target}`]}
        labels={["Remove this deployment", "Remove this deployment for good"]}
        isOff={end.isRunning}
        onDo={() => void end.run()}
      />
      <ProblemNotice problem={end.problem} />
    </section>
  );
}
