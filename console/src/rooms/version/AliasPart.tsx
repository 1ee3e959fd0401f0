import { useState } from "preact/hooks";
import { put } from "../../api/client";
import { offers } from "../../api/offers";
import type { AliasInfo } from "../../api/types";
import { useAction } from "../../parts/action";
import { SelectField, TextField } from "../../parts/Field";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { href } from "../../router";
import { useAliases } from "../../state/queries";
import { refreshAll } from "../../state/resource";

const PATH = "/v1/models/{model}/aliases/{alias}";
const NEW = "";

/** Point an alias here, only while it points where it was seen to point. */
export function AliasPart({ model, version }: { model: string; version: string }) {
  const aliases = useAliases(model);
  const known = aliases.data ?? [];
  const [chosen, setChosen] = useState<string | null>(null);
  const [typed, setTyped] = useState("production");
  const [reason, setReason] = useState("");
  const [told, setTold] = useState<{ text: string; waits: boolean } | null>(null);
  const chosenName = chosen ?? (known.some((one) => one.alias === "production") ? "production" : NEW);
  const alias = chosenName === NEW ? typed.trim() : chosenName;
  const seen = known.find((one) => one.alias === alias);
  const move = useAction(async () => {
    setTold(null);
    const why = reason.trim() === "" ? {} : { reason: reason.trim() };
    const body = seen ? { version, expected: seen.version, ...why } : { version, ...why };
    try {
      const found = await put(PATH, body, { path: { model, alias } });
      const waits = found.version !== version;
      setTold({ text: waits ? `${alias} stays at ${found.version}: the move to ${version} waits for another key's approval.` : `${alias} points at ${version} now.`, waits });
      setReason("");
    } finally {
      // Also where it had moved meanwhile: then the new place is shown, and can be expected.
      for (const changed of ["aliases", "requests", "models", `version ${model}`, "versions"]) refreshAll(changed);
    }
  });
  if (!offers("put", PATH)) return null;
  const options = [...known.map((one) => [one.alias, `${one.alias} (now ${one.version})`] as const), [NEW, "a new alias…"] as const];
  return (
    <section class="card" aria-labelledby="alias">
      <h2 id="alias">Move an alias here</h2>
      <p class="soft">
        People ask for an alias, and get the version that it points at. Moving one is how a version goes to production, and back.
      </p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void move.run();
        }}
      >
        <div class="row">
          <SelectField label="Alias" value={chosenName} options={options} onChange={setChosen} />
          {chosenName === NEW && <TextField label="Its name" value={typed} onInput={setTyped} />}
          <TextField label="Reason (optional)" value={reason} placeholder="checked by the editors" onInput={setReason} />
          <button type="submit" disabled={alias === "" || seen?.version === version || move.isRunning}>
            {seen?.approval ? `Ask to move ${alias} from ${seen.version} to ${version}` : seen ? `Move ${alias} from ${seen.version} to ${version}` : `Point ${alias || "it"} at ${version}`}
          </button>
        </div>
        {seen && <Conditions alias={seen} />}
        <p class="soft small">
          {seen?.version === version
            ? `${alias} points here already.`
            : seen
              ? `It moves only if it still points at ${seen.version}.`
              : "A new alias is made."} The reason is kept in the audit log.
        </p>
      </form>
      {told && (
        <Notice kind={told.waits ? "warning" : "good"}>
          {told.text} {told.waits && <a href={href("models", model, "requests")}>See what waits</a>}
        </Notice>
      )}
      <ProblemNotice problem={move.problem} />
    </section>
  );
}

/** What a move must meet, before somebody tries it. */
function Conditions({ alias: of }: { alias: AliasInfo }) {
  if (!of.protected && !of.guard && !of.approval) return null;
  return (
    <ul class="plain small">
      {of.protected && !of.approval && <li>Only administrators move {of.alias}.</li>}
      {of.guard && <li>It moves only to versions that measured as well as its guard demands.</li>}
      {of.approval && (
        <li>
          Each move needs another key's approval.{" "}
          <a href={href("models", of.model, "requests")}>{of.request?.state === "open" ? "One that was asked for waits." : "What was asked for so far"}</a>
        </li>
      )}
    </ul>
  );
}
