import { post } from "../../api/client";
import { asksForKeys, ownKey } from "../../api/offers";
import type { ApiKey } from "../../api/types";
import { useAction } from "../../parts/action";
import { ProblemNotice } from "../../parts/Notice";
import { TwiceButton } from "../../parts/TwiceButton";
import { VirtualTable, type Column } from "../../parts/VirtualTable";
import { useKeys } from "../../state/queries";
import { refreshAll } from "../../state/resource";
import { when } from "../../text/numbers";
import { KeyForm } from "./KeyForm";

const ROW = 40;

/** Who may talk to this server. */
export function KeysPart() {
  return (
    <section aria-labelledby="keys">
      <h2 id="keys">API keys</h2>
      {asksForKeys.value ? <Keys /> : <p class="soft">This server asks for no keys: only this machine may talk to it. Started with an API key, it asks for them, and others can be made here.</p>}
    </section>
  );
}

function Keys() {
  const keys = useKeys();
  const revoke = useAction(async (id: string) => {
    await post("/v1/keys/{key_id}/revoke", undefined, { path: { key_id: id } });
    for (const changed of ["keys", "audit"]) refreshAll(changed);
  });
  const columns: Column<ApiKey>[] = [
    { head: "label", class: "wide", cell: (key) => key.label },
    { head: "may", cell: (key) => key.scopes.join(", ") },
    { head: "models", cell: (key) => key.models?.join(", ") ?? "all" },
    { head: "id", cell: (key) => <code>{key.id}</code> },
    { head: "last used", cell: (key) => (key.last_used_at ? when(key.last_used_at) : <span class="soft">never</span>) },
    { head: "until", cell: (key) => stateOf(key) },
    {
      head: "revoke",
      cell: (key) =>
        key.revoked_at === null && (
          <TwiceButton
            key={key.id}
            texts={["Revoke…", ownKey.value?.id === key.id ? "Revoke my own key" : "Revoke for ever"]}
            labels={[`Revoke ${key.id}`, `Revoke ${key.id} for ever`]}
            isOff={revoke.isRunning}
            onDo={() => void revoke.run(key.id)}
          />
        ),
    },
  ];
  return (
    <>
      <ProblemNotice problem={keys.problem ?? revoke.problem} />
      {keys.data?.length === 0 && <p class="soft">Only the key of the configuration is known. Make one for each person and program.</p>}
      {keys.data && keys.data.length > 0 && (
        <VirtualTable label="API keys, newest first" rows={keys.data} columns={columns} rowHeight={ROW} height={Math.min(400, keys.data.length * ROW + 60)} />
      )}
      <KeyForm />
    </>
  );
}

function stateOf(key: ApiKey) {
  if (key.revoked_at) return <span class="wrong">revoked {when(key.revoked_at)}</span>;
  if (!key.expires_at) return "it is revoked";
  return new Date(key.expires_at) <= new Date() ? <span class="wrong">expired {when(key.expires_at)}</span> : when(key.expires_at);
}
