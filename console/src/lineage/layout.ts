/** A lineage as rows of a graph: which lane a version stands in, and the lines above and below it. */

export interface Node {
  version: string;
  parent: string | null;
}

/** A line goes from lane `from` at one edge of the row to lane `to` at its middle, or the other way round. */
export interface Line {
  from: number;
  to: number;
}

export interface GraphRow {
  lane: number;
  /** From the upper edge to the middle. */
  above: Line[];
  /** From the middle to the lower edge. */
  below: Line[];
}

export interface Layout {
  rows: GraphRow[];
  lanes: number;
}

/** Versions newest first, every parent after its children. A lane ends where its parent stands. */
export function layOut(versions: readonly Node[]): Layout {
  const known = new Set(versions.map((one) => one.version));
  /** Lane → the version that it leads to. */
  const open: (string | null)[] = [];
  let lanes = 1;
  const rows = versions.map(({ version, parent }): GraphRow => {
    const awaiting = open.flatMap((wanted, lane) => (wanted === version ? [lane] : []));
    const lane = awaiting[0] ?? freeLane(open);
    const above = open.flatMap((wanted, from) => (wanted === null ? [] : [{ from, to: wanted === version ? lane : from }]));
    for (const one of awaiting) open[one] = null;
    open[lane] = parent !== null && known.has(parent) ? parent : null;
    const below = open.flatMap((wanted, to) => (wanted === null ? [] : [{ from: to, to }]));
    lanes = Math.max(lanes, open.length);
    while (open.length > 0 && open.at(-1) === null) open.pop();
    return { lane, above, below };
  });
  return { rows, lanes };
}

function freeLane(open: readonly (string | null)[]): number {
  const free = open.indexOf(null);
  return free < 0 ? open.length : free;
}
