import { send } from "../../api/client";
import { offers } from "../../api/offers";
import type { Consolidated, EditJob, Version } from "../../api/types";
import { markOf } from "../../lineage/marks";
import { bytesIn } from "../../lineage/series";
import { useAction } from "../../parts/action";
import { MetricsTable } from "../../parts/MetricsTable";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { go, href } from "../../router";
import { useVersion } from "../../state/queries";
import { refreshAll } from "../../state/resource";
import { bytes, count, when } from "../../text/numbers";
import { AliasPart } from "./AliasPart";
import { ExportPart } from "./ExportPart";
import { FactsPart } from "./FactsPart";

const CONSOLIDATE = "/v1/models/{model}/versions/{version}/consolidate";

export function VersionRoom({ model, version: reference }: { model: string; version: string }) {
  const shown = useVersion(model, reference);
  const version = shown.data;
  if (!version) return <ProblemNotice problem={shown.problem} />;
  const isBase = version.parent === null;
  return (
    <>
      <p class="crumbs">
        <a href={href("models")}>{model}</a>
      </p>
      <h1>
        {version.version}
        {version.aliases.map((alias) => (
          <span key={alias} class="flag">
            {alias}
          </span>
        ))}
      </h1>
      {version.state === "unavailable" && <Notice kind="bad">The weights of this version are not there: it cannot be asked.</Notice>}
      <Provenance model={model} version={version} />
      <Actions model={model} version={version} />
      {version.metrics && (
        <>
          <h2>Measured at its publication</h2>
          <MetricsTable
            caption="Its batch"
            columns={{
              before: version.metrics.before,
              after: { ...version.metrics.after, ...(version.metrics.drift ? { drift: version.metrics.drift } : {}) },
            }}
          />
        </>
      )}
      {offers("get", "/v1/models/{model}/versions/{version}/facts") && !isBase && <FactsPart model={model} version={version.version} />}
      <AliasPart model={model} version={version.version} />
      {!isBase && <ExportPart model={model} version={version.version} />}
    </>
  );
}

function Actions({ model, version }: { model: string; version: Version }) {
  const consolidate = useAction(async () => {
    const answer = await send("post", CONSOLIDATE, { path: { model, version: version.version } }, {});
    const job = (await answer.json()) as EditJob;
    refreshAll("edits");
    go("jobs", job.id);
  });
  const isBase = version.parent === null;
  return (
    <>
      <p class="actions">
        {offers("post", "/v1/completions") && (
          <a class="button second" href={href("playground", { versions: [...new Set(["v0", version.version])].join(",") })}>
            Ask it
          </a>
        )}
        {offers("post", "/v1/evaluations") && (
          <a class="button second" href={href("evaluations", { model, of: version.version })}>
            Evaluate
          </a>
        )}
        {offers("get", "/v1/models/{model}/diff") && version.parent && (
          <a class="button second" href={href("models", model, "compare", { from: version.parent, to: version.version })}>
            Compare with {version.parent}
          </a>
        )}
        {offers("post", CONSOLIDATE) && !isBase && (
          <button type="button" class="second" disabled={consolidate.isRunning} onClick={() => void consolidate.run()}>
            Consolidate
          </button>
        )}
      </p>
      <ProblemNotice problem={consolidate.problem} />
    </>
  );
}

function Provenance({ model, version }: { model: string; version: Version & Consolidated }) {
  const link = (name: string) => <a href={href("models", model, "versions", name)}>{name}</a>;
  const rows: [string, preact.ComponentChildren][] = [
    ["Made by", version.edit ? <a href={href("jobs", version.edit)}>{markOf(version)}</a> : "the untouched base"],
    ["Parent", version.parent ? link(version.parent) : null],
    ["Consolidates", version.consolidates ? link(version.consolidates) : null],
    ["Label", version.label],
    ["Method", version.algorithm],
    ["Facts", `${count(version.facts, "fact")} of its own, ${count(version.total_facts, "fact")} in its lineage`],
    ["Layers", version.layers.length > 0 ? `${version.layers.join(", ")} (rank ${version.rank})` : null],
    // An object in releases that tell delta and matrices apart.
    ["Size", bytes(bytesIn(version.bytes))],
    ["Made", <time key="made" dateTime={version.created_at}>{when(version.created_at)}</time>],
    ["SHA-256", version.sha256 ? <code key="hash">{version.sha256}</code> : null],
  ];
  return (
    <dl class="facts">
      {rows
        .filter(([, value]) => value !== null)
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}
