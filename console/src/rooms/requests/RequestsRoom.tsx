import { useState } from "preact/hooks";
import { ownKey } from "../../api/offers";
import type { AliasRequest } from "../../api/types";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { State } from "../../parts/State";
import { Title } from "../../parts/Title";
import { VirtualTable, type Column } from "../../parts/VirtualTable";
import { href } from "../../router";
import { useNewestRequests, useOpenRequests } from "../../state/queries";
import { when } from "../../text/numbers";
import { titleOf, who } from "./choices";
import { OpenRequest } from "./OpenRequest";

const ROW = 38;

/** Changes of a model's aliases that take two keys: those that wait, and what became of others. */
export function RequestsRoom({ model }: { model: string }) {
  const open = useOpenRequests(model);
  const newest = useNewestRequests(model);
  const [told, setTold] = useState<string | null>(null);
  const decided = (newest.data ?? []).filter((one) => one.state !== "open");
  const caller = ownKey.value;
  return (
    <>
      <p class="crumbs">
        <a href={href("models")}>{model}</a>
      </p>
      <Title name="Changes that wait for approval">
        An alias that demands approval stays where it is until a second key agrees to its move.
      </Title>
      {told && <Notice kind="good">{told}.</Notice>}
      <ProblemNotice problem={open.problem ?? newest.problem} />
      {open.data?.length === 0 && <Notice kind="plain">Nothing waits. What is asked for appears here by itself.</Notice>}
      {caller && open.data?.map((request) => <OpenRequest key={request.id} request={request} caller={caller} onDone={setTold} />)}
      {decided.length > 0 && (
        <section aria-labelledby="decided">
          <h2 id="decided">What became of earlier ones</h2>
          <VirtualTable label="Changes that were asked for, newest first" rows={decided} columns={COLUMNS} rowHeight={ROW} height={Math.min(480, decided.length * ROW + 60)} />
        </section>
      )}
    </>
  );
}

const COLUMNS: Column<AliasRequest>[] = [
  { head: "state", cell: (one) => <State of={one.state} /> },
  { head: "change", cell: titleOf },
  { head: "asked for by", cell: (one) => who(one.requested_label, one.requested_by) },
  { head: "decided by", cell: (one) => who(one.decided_label, one.decided_by) },
  { head: "at", cell: (one) => when(one.decided_at ?? one.expires_at) },
  { head: "reason", class: "wide", cell: (one) => one.decision ?? one.reason },
];
