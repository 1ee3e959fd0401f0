import { useState } from "preact/hooks";
import { get } from "../../api/client";
import type { AuditEntry } from "../../api/types";
import { TextField } from "../../parts/Field";
import { ProblemNotice } from "../../parts/Notice";
import { VirtualTable, type Column } from "../../parts/VirtualTable";
import { href } from "../../router";
import { useResource } from "../../state/resource";
import { when } from "../../text/numbers";

const PAGE = 200;

const COLUMNS: Column<AuditEntry>[] = [
  { head: "when", class: "wide", cell: (one) => <time dateTime={one.at}>{when(one.at)}</time> },
  { head: "who", cell: (one) => (one.label ? `${one.label} (${one.actor})` : one.actor) },
  { head: "what", cell: (one) => one.action },
  { head: "of", cell: (one) => <Target entry={one} /> },
  { head: "model", cell: (one) => one.model },
  { head: "from", cell: (one) => one.address },
  { head: "details", class: "widest", cell: (one) => <span title={details(one)}>{details(one)}</span> },
];

/** Who changed what, newest first. */
export function AuditLog() {
  const [action, setAction] = useState("");
  const [actor, setActor] = useState("");
  const query = {
    limit: PAGE,
    ...(/^[a-z_.]{1,40}$/.test(action.trim()) ? { action: action.trim() } : {}),
    ...(actor.trim() ? { actor: actor.trim() } : {}),
  };
  const entries = useResource(`audit ${JSON.stringify(query)}`, async () => (await get("/v1/audit", { query })).data, () => 10);
  return (
    <section aria-labelledby="audit">
      <h2 id="audit">Audit log</h2>
      <p class="soft">Every change, with who made it and from where.</p>
      <div class="row">
        <TextField label="Kind of change" value={action} onInput={setAction} placeholder="alias.moved" />
        <TextField label="Who" value={actor} onInput={setActor} />
      </div>
      <ProblemNotice problem={entries.problem} />
      {entries.data?.length === 0 && <p class="soft">No such change was made.</p>}
      {entries.data && entries.data.length > 0 && (
        <VirtualTable label="Changes, newest first" rows={entries.data} columns={COLUMNS} rowHeight={36} height={Math.min(520, entries.data.length * 36 + 60)} />
      )}
      {entries.data?.length === PAGE && <p class="soft">The newest {PAGE}; name a kind or a person to see others.</p>}
    </section>
  );
}

function Target({ entry }: { entry: AuditEntry }) {
  const { target, model } = entry;
  if (target?.startsWith("edit_")) return <a href={href("jobs", target)}>…{target.slice(-6)}</a>;
  if (target?.startsWith("eval_")) return <a href={href("evaluations", target)}>…{target.slice(-6)}</a>;
  if (target?.startsWith("dep_")) return <a href={href("deployments", target)}>…{target.slice(-6)}</a>;
  if (target && model && /^v\d+$/.test(target)) return <a href={href("models", model, "versions", target)}>{target}</a>;
  return <>{target}</>;
}

const details = (entry: AuditEntry): string =>
  Object.entries(entry.details)
    .sort(([one], [other]) => Number(other === "reason") - Number(one === "reason"))
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : String(value)}`)
    .join(", ");
