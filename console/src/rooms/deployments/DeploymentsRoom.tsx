import { offers } from "../../api/offers";
import type { Deployment } from "../../api/types";
import { chosenModel } from "../../parts/ModelSelect";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { State } from "../../parts/State";
import { Title } from "../../parts/Title";
import { VirtualTable, type Column } from "../../parts/VirtualTable";
import { href } from "../../router";
import { useDeployments } from "../../state/queries";
import { when } from "../../text/numbers";
import { DeployForm } from "./DeployForm";
import { agreed, lagOf, meaningOf } from "./words";

const ROW = 38;

/** Which engines elsewhere serve what, and whether they answer as this server does. */
export function DeploymentsRoom() {
  const model = chosenModel.value;
  const deployments = useDeployments(model);
  const rows = deployments.data;
  return (
    <>
      <Title name="Deployments">Engines elsewhere that serve versions of {model ?? "a model"}, follow its aliases, and are asked whether they answer as this server does.</Title>
      <ProblemNotice problem={deployments.problem} />
      {rows?.length === 0 && (
        <Notice kind="plain">
          No engine serves a version yet. {offers("post", "/v1/deployments") ? "Name one below." : "A key with the scope admin makes deployments."}
        </Notice>
      )}
      {rows && rows.length > 0 && (
        <VirtualTable label="Deployments, newest first" rows={rows} columns={COLUMNS} rowHeight={ROW} height={Math.min(480, rows.length * ROW + 60)} />
      )}
      {model && <DeployForm key={model} model={model} />}
    </>
  );
}

const COLUMNS: Column<Deployment>[] = [
  { head: "state", cell: (one) => <span title={meaningOf(one.state)}><State of={one.state} /></span> },
  { head: "follows", cell: (one) => <a href={href("deployments", one.id)}>{one.model}</a> },
  { head: "engine", class: "wide", cell: (one) => one.target },
  { head: "serves", cell: (one) => one.actual ?? <span class="soft">nothing</span> },
  { head: "shall serve", cell: (one) => one.desired },
  { head: "lag", cell: (one) => <span class={one.lag_seconds > 0 ? "wrong" : "right"}>{lagOf(one)}</span> },
  { head: "answers as here", class: "wide", cell: (one) => one.last_check && <span class={one.last_check.passed ? undefined : "wrong"}>{agreed(one.last_check)}</span> },
  { head: "checked", cell: (one) => one.last_check && <time dateTime={one.last_check.at}>{when(one.last_check.at)}</time> },
];
