import type { EditJob, LeftOutFact } from "../../api/types";
import { VirtualTable, type Column } from "../../parts/VirtualTable";
import { useLeftOut } from "../../state/queries";
import { count } from "../../text/numbers";

const ROW = 36;
const COLUMNS: Column<LeftOutFact>[] = [
  { head: "sent as", class: "number", cell: (one) => one.index },
  { head: "field", cell: (one) => one.loc.replace(/^facts\[\d+\]\.?/, "") },
  { head: "what is wrong", class: "widest", cell: (one) => <span title={one.msg}>{one.msg}</span> },
];

/** Facts that were sent and are not edited, since something is wrong with each. */
export function LeftOut({ job }: { job: EditJob }) {
  const rows = useLeftOut(job.id, job.left_out ?? 0).data ?? [];
  if (rows.length === 0) return null;
  return (
    <section aria-labelledby="left-out">
      <h2 id="left-out">
        Left out <small>{count(rows.length, "fact")}</small>
      </h2>
      <VirtualTable label="Facts that were left out" rows={rows} columns={COLUMNS} rowHeight={ROW} height={Math.min(360, rows.length * ROW + 60)} />
    </section>
  );
}
