import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

export interface Column<Row> {
  head: string;
  class?: string;
  cell: (row: Row, index: number) => ComponentChildren;
}

const SPARE_ROWS = 12;

/** A table of any length, of which only the rows in view are in the page. All rows are `rowHeight` pixels high. */
export function VirtualTable<Row>(props: {
  label: string;
  rows: readonly Row[];
  columns: readonly Column<Row>[];
  rowHeight: number;
  height?: number;
  rowClass?: (row: Row) => string;
}) {
  const { rows, columns, rowHeight } = props;
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: props.height ?? 480 });
  const look = () => {
    const seen = box.current;
    if (seen) setView({ top: seen.scrollTop, height: seen.clientHeight });
  };
  useLayoutEffect(look, [rows.length]);
  const first = Math.max(0, Math.min(Math.floor(view.top / rowHeight), rows.length) - SPARE_ROWS);
  const last = Math.min(rows.length, Math.ceil((view.top + view.height) / rowHeight) + SPARE_ROWS);
  return (
    <div
      class="scroller virtual"
      ref={box}
      onScroll={look}
      style={{ maxHeight: `${props.height ?? 480}px` }}
      tabIndex={0}
      role="region"
      aria-label={props.label}
    >
      <table aria-rowcount={rows.length + 1}>
        <thead>
          <tr aria-rowindex={1}>
            {columns.map((column) => (
              <th key={column.head} scope="col" class={column.class}>
                {column.head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {first > 0 && <Spacer columns={columns.length} height={first * rowHeight} />}
          {rows.slice(first, last).map((row, offset) => (
            <tr
              key={first + offset}
              aria-rowindex={first + offset + 2}
              class={props.rowClass?.(row)}
              style={{ height: `${rowHeight}px` }}
            >
              {columns.map((column) => (
                <td key={column.head} class={column.class}>
                  {column.cell(row, first + offset)}
                </td>
              ))}
            </tr>
          ))}
          {last < rows.length && <Spacer columns={columns.length} height={(rows.length - last) * rowHeight} />}
        </tbody>
      </table>
    </div>
  );
}

function Spacer({ columns, height }: { columns: number; height: number }) {
  return (
    <tr aria-hidden="true" class="spacer">
      <td colSpan={columns} style={{ height: `${height}px` }} />
    </tr>
  );
}
