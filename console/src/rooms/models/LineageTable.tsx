import { useMemo } from "preact/hooks";
import type { Version } from "../../api/types";
import { layOut, type GraphRow } from "../../lineage/layout";
import { markOf, type Mark } from "../../lineage/marks";
import { bytesIn, retainedOf } from "../../lineage/series";
import { VirtualTable, type Column } from "../../parts/VirtualTable";
import { href } from "../../router";
import { bytes, count, percent, ratio, when } from "../../text/numbers";

const ROW = 40;
const LANE = 18;
const MOST_LANES = 8;

interface Row {
  version: Version;
  graph: GraphRow;
  mark: Mark;
}

/** The lineage, newest first: a graph of branches at the left, what each version is beside it. */
export function LineageTable(props: {
  model: string;
  versions: readonly Version[];
  chosen: string;
  onChoose: (version: string) => void;
}) {
  const { model, versions } = props;
  const { rows, lanes } = useMemo(() => {
    const layout = layOut(versions);
    const rows = versions.map((version, index): Row => {
      const graph = layout.rows[index] ?? { lane: 0, above: [], below: [] };
      return { version, graph, mark: markOf(version) };
    });
    return { rows, lanes: Math.min(layout.lanes, MOST_LANES) };
  }, [versions]);
  const hasRetained = versions.some((one) => retainedOf(one) !== null);
  const columns: Column<Row>[] = [
    { head: "lineage", class: "graph", cell: (row) => <GraphCell row={row} lanes={lanes} /> },
    { head: "version", cell: (row) => <Name model={model} row={row} /> },
    { head: "label", class: "wide", cell: ({ version }) => version.label ?? <span class="soft">–</span> },
    { head: "facts", class: "number", cell: ({ version, mark }) => (mark === "revert" ? `−${version.facts}` : version.facts) },
    { head: "in force", class: "number", cell: ({ version }) => version.facts_in_force ?? version.total_facts },
    { head: "drift", class: "number", cell: ({ version }) => <Drift version={version} /> },
    ...(hasRetained ? [{ head: "retained", class: "number", cell: ({ version }: Row) => shareOf(retainedOf(version)) }] : []),
    { head: "size", class: "number", cell: ({ version }) => bytes(bytesIn(version.bytes)) },
    { head: "made", class: "wide", cell: ({ version }) => <time dateTime={version.created_at}>{when(version.created_at)}</time> },
    {
      head: "plot",
      cell: ({ version }) => (
        <button
          type="button"
          class="quiet"
          aria-pressed={version.version === props.chosen}
          aria-label={`Plot the line to ${version.version}`}
          onClick={() => props.onChoose(version.version)}
        >
          {version.version === props.chosen ? "●" : "○"}
        </button>
      ),
    },
  ];
  return (
    <section aria-labelledby="lineage">
      <h2 id="lineage">Lineage</h2>
      {versions.length === 1 ? <p class="soft">Only the untouched base so far. Each correction adds a version.</p> : <Explained count={versions.length} />}
      <VirtualTable
        label="Lineage of versions"
        rows={rows}
        columns={columns}
        rowHeight={ROW}
        height={Math.min(rows.length * ROW + 60, 460)}
      />
    </section>
  );
}

function Explained({ count: versions }: { count: number }) {
  return (
    <>
      <p class="soft">{count(versions, "version")}, newest first, each made of the one that its line leads to.</p>
      <ul class="legend" aria-label="What the marks are">
        <li class="plain-mark">● edit</li>
        <li class="plain-mark">◆ revert</li>
        <li class="plain-mark">■ consolidation</li>
        <li class="plain-mark">○ untouched base</li>
      </ul>
    </>
  );
}

const shareOf = (value: number | null) => (value === null ? <span class="soft">–</span> : percent(value));

function Drift({ version }: { version: Version }) {
  const value = version.metrics?.drift?.value ?? null;
  if (value === null) return <span class="soft">–</span>;
  return <span class={version.wear === "worn" ? "wrong" : undefined}>{ratio(value)}</span>;
}

function Name({ model, row: { version, mark } }: { model: string; row: Row }) {
  return (
    <span class="version">
      <a href={href("models", model, "versions", version.version)}>{version.version}</a>
      {mark === "revert" && <span class="kind">revert</span>}
      {mark === "consolidation" && <span class="kind">consolidation</span>}
      {version.aliases.map((alias) => (
        <span key={alias} class="flag">
          {alias}
        </span>
      ))}
    </span>
  );
}

function GraphCell({ row, lanes }: { row: Row; lanes: number }) {
  const x = (lane: number) => Math.min(lane, MOST_LANES - 1) * LANE + LANE / 2;
  const middle = ROW / 2;
  const at = x(row.graph.lane);
  return (
    <svg class="lanes" width={lanes * LANE} height={ROW} aria-hidden="true">
      {row.graph.above.map((line, index) => (
        <path key={`a${index}`} class={`hue${line.from % 6}`} d={`M${x(line.from)} 0C${x(line.from)} ${middle / 2} ${x(line.to)} ${middle / 2} ${x(line.to)} ${middle}`} />
      ))}
      {row.graph.below.map((line, index) => (
        <path key={`b${index}`} class={`hue${line.to % 6}`} d={`M${x(line.from)} ${middle}V${ROW}`} />
      ))}
      <Shape mark={row.mark} x={at} y={middle} hue={row.graph.lane % 6} />
    </svg>
  );
}

function Shape({ mark, x, y, hue }: { mark: Mark; x: number; y: number; hue: number }) {
  if (mark === "revert") return <path class={`node hue${hue}`} d={`M${x} ${y - 7}L${x + 7} ${y}L${x} ${y + 7}L${x - 7} ${y}Z`} />;
  if (mark === "consolidation") return <rect class={`node hue${hue}`} x={x - 6} y={y - 6} width={12} height={12} />;
  return <circle class={mark === "base" ? `node base hue${hue}` : `node hue${hue}`} cx={x} cy={y} r={5} />;
}
