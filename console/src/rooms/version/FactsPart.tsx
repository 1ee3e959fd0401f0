import { useState } from "preact/hooks";
import { post } from "../../api/client";
import { offers } from "../../api/offers";
import type { VersionFact } from "../../api/types";
import { filled } from "../../facts/mark";
import { useAction } from "../../parts/action";
import { Check, TextField } from "../../parts/Field";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { VirtualTable, type Column } from "../../parts/VirtualTable";
import { go } from "../../router";
import { useVersionFacts } from "../../state/queries";
import { refreshAll } from "../../state/resource";
import { count } from "../../text/numbers";
import { keyOf, revertOf } from "./ticked";

const REVERT = "/v1/models/{model}/versions/{version}/revert";

/** The facts of a version's lineage, to be searched, and ticked to be taken out. */
export function FactsPart({ model, version }: { model: string; version: string }) {
  const facts = useVersionFacts(model, version);
  const [sought, setSought] = useState("");
  const [all, setAll] = useState(false);
  const [ticked, setTicked] = useState<ReadonlySet<string>>(new Set());
  const [reason, setReason] = useState("");
  const mayRevert = offers("post", REVERT);
  const request = revertOf(facts.data ?? [], ticked);
  const revert = useAction(async () => {
    if (request === null) return;
    const label = reason.trim();
    const body = { ...request, ...(label === "" ? {} : { label }) };
    const job = await post(REVERT, body, { path: { model, version } });
    refreshAll("edits");
    go("jobs", job.id);
  });
  const wanted = sought.trim().toLowerCase();
  const shown = (facts.data ?? []).filter(
    (fact) =>
      (all || fact.state === "in_force") &&
      (wanted === "" || `${filled(fact)} ${fact.target_new} ${fact.target_old ?? ""}`.toLowerCase().includes(wanted)),
  );
  const tick = (fact: VersionFact, isTicked: boolean) => {
    const changed = new Set(ticked);
    if (isTicked) changed.add(keyOf(fact));
    else changed.delete(keyOf(fact));
    setTicked(changed);
  };
  const columns: Column<VersionFact>[] = [
    ...(mayRevert
      ? [
          {
            head: "take out",
            cell: (fact: VersionFact) =>
              fact.state === "in_force" && (
                <input
                  type="checkbox"
                  aria-label={`Take out: ${filled(fact)} ${fact.target_new}`}
                  checked={ticked.has(keyOf(fact))}
                  onChange={(event) => tick(fact, event.currentTarget.checked)}
                />
              ),
          },
        ]
      : []),
    { head: "prompt", class: "wide", cell: filled },
    { head: "target", cell: (fact) => <strong>{fact.target_new}</strong> },
    { head: "before", cell: (fact) => fact.target_old },
    { head: "since", cell: (fact) => fact.version },
    { head: "state", cell: (fact) => fact.state.replace("_", " ") },
    { head: "last read", cell: (fact) => <Measured fact={fact} /> },
  ];
  return (
    <section aria-labelledby="facts">
      <h2 id="facts">Facts</h2>
      <p class="soft">
        What this version was taught, by itself or by the ones before it.{mayRevert && " Tick what was wrong to take it out again: that makes a new version."}
      </p>
      <ProblemNotice problem={facts.problem} />
      <div class="row">
        <TextField label="Search" value={sought} onInput={setSought} />
        <Check label="Also superseded and reverted ones" checked={all} onChange={setAll} />
      </div>
      <p role="status" class="soft">
        {count(shown.length, "fact")}
      </p>
      {shown.length > 0 && (
        <VirtualTable label="Facts of the lineage" rows={shown} columns={columns} rowHeight={36} height={Math.min(480, shown.length * 36 + 60)} />
      )}
      {ticked.size > 0 && (
        <form
          class="card"
          onSubmit={(event) => {
            event.preventDefault();
            void revert.run();
          }}
        >
          <TextField label="Reason (optional)" value={reason} onInput={setReason} hint="The new version's label." />
          {request === null && (
            <Notice kind="warning">The ticked facts are of several batches. Tick facts of one batch, and others only whole.</Notice>
          )}
          <ProblemNotice problem={revert.problem} />
          <button type="submit" disabled={request === null || revert.isRunning}>
            Revert {count(ticked.size, "fact")}
          </button>
        </form>
      )}
    </section>
  );
}

/** What the last check that read the fact found. */
function Measured({ fact }: { fact: VersionFact }) {
  const read = fact.measured;
  const value = read?.EM ?? read?.GA ?? null;
  if (!read || value === null) return <span class="soft">–</span>;
  return (
    <span class={value === 1 ? "right" : "wrong"}>
      {value === 1 ? "said" : "not said"} <span class="soft">{read.version}</span>
    </span>
  );
}
