import { offers } from "../../api/offers";
import type { BatchMetrics, Version } from "../../api/types";
import { markOf } from "../../lineage/marks";
import { bytesIn } from "../../lineage/series";
import { Facts, type Fact } from "../../parts/Facts";
import { MetricsTable } from "../../parts/MetricsTable";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { Title } from "../../parts/Title";
import { href } from "../../router";
import { useVersion } from "../../state/queries";
import { bytes, count, when } from "../../text/numbers";
import { AliasPart } from "./AliasPart";
import { ConsolidatePart } from "./ConsolidatePart";
import { ExportPart } from "./ExportPart";
import { FactsPart } from "./FactsPart";

const MADE_BY = { base: "nobody: the untouched model", edit: "an edit", revert: "a revert", consolidation: "a consolidation" };

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
      <Title name={<Name version={version} />}>
        {isBase ? "The model as it was loaded. It never changes, and one can always go back to it." : version.label}
      </Title>
      {version.state === "unavailable" && <Notice kind="bad">The weights of this version are not there: it cannot be asked.</Notice>}
      {version.wear === "worn" && (
        <Notice kind="warning">
          <strong>This line is worn.</strong> Facts corrected earlier are being lost, or most of its budget is used. Consolidate it.
        </Notice>
      )}
      <Provenance model={model} version={version} />
      <Links model={model} version={version} />
      {offers("get", "/v1/models/{model}/versions/{version}/facts") && !isBase && <FactsPart model={model} version={version.version} />}
      {version.metrics && <Measured metrics={version.metrics} />}
      <div class="cards">
        <AliasPart model={model} version={version.version} />
        {!isBase && <ConsolidatePart model={model} version={version} />}
        {!isBase && <ExportPart model={model} version={version.version} />}
      </div>
    </>
  );
}

function Name({ version }: { version: Version }) {
  return (
    <>
      {version.version}
      {version.aliases.map((alias) => (
        <span key={alias} class="flag">
          {alias}
        </span>
      ))}
    </>
  );
}

function Measured({ metrics: { before, after, drift, retained } }: { metrics: BatchMetrics }) {
  return (
    <section aria-labelledby="measured">
      <h2 id="measured">Measured before it was published</h2>
      <div class="tables">
        <MetricsTable caption="Its own facts, and ordinary text" columns={{ before, after: { ...after, ...(drift ? { drift } : {}) } }} />
        {retained && <MetricsTable caption="Facts corrected earlier" columns={{ before: retained.before, after: retained.after }} />}
      </div>
    </section>
  );
}

function Links({ model, version }: { model: string; version: Version }) {
  return (
    <p class="actions">
      {offers("post", "/v1/completions") && (
        <a class="button second" href={href("playground", { model, versions: [...new Set(["v0", version.version])].join(",") })}>
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
    </p>
  );
}

function Provenance({ model, version }: { model: string; version: Version }) {
  const link = (name: string | null | undefined) => name && <a href={href("models", model, "versions", name)}>{name}</a>;
  const mayFollow = offers("get", "/v1/edits/{edit_id}");
  const made = MADE_BY[markOf(version)];
  const rows: Fact[] = [
    ["Made by", version.edit && mayFollow ? <a href={href("jobs", version.edit)}>{made}</a> : made],
    ["Parent", link(version.parent)],
    ["Consolidates", link(version.consolidates)],
    ["Method", version.algorithm],
    ["Facts", version.parent && `${count(version.facts, "fact")} of its own, ${(version.facts_in_force ?? version.total_facts).toLocaleString("en")} in force`],
    ["Layers", version.layers.length > 0 && `${version.layers.join(", ")} (rank ${version.rank})`],
    ["Size", version.parent && bytes(bytesIn(version.bytes))],
    ["Made", <time key="made" dateTime={version.created_at}>{when(version.created_at)}</time>],
    ["SHA-256", version.sha256 && <code key="hash" title={version.sha256}>{version.sha256.slice(0, 16)}…</code>],
  ];
  return <Facts rows={rows} />;
}
