import { useState } from "preact/hooks";
import { post } from "../../api/client";
import type { Scope } from "../../api/types";
import { useAction } from "../../parts/action";
import { Check, SelectField, TextField } from "../../parts/Field";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { refreshAll } from "../../state/resource";

const SCOPES: readonly (readonly [Scope, string])[] = [
  ["generate", "generate: ask versions"],
  ["evaluate", "evaluate: measure them"],
  ["edit", "edit: make and move them"],
  ["admin", "admin: everything"],
];
const LIFETIMES = [
  ["", "until it is revoked"],
  ["7", "a week"],
  ["30", "30 days"],
  ["365", "a year"],
] as const;
const DAY_MILLISECONDS = 86_400_000;

/** Make a key. Its secret is shown once, here, and is kept nowhere. */
export function KeyForm() {
  const [label, setLabel] = useState("");
  const [scopes, setScopes] = useState<readonly Scope[]>(["generate"]);
  const [days, setDays] = useState<(typeof LIFETIMES)[number][0]>("");
  const [secret, setSecret] = useState<string | null>(null);
  const make = useAction(async () => {
    setSecret(null);
    const expires = days === "" ? {} : { expires_at: new Date(Date.now() + Number(days) * DAY_MILLISECONDS).toISOString() };
    const made = await post("/v1/keys", { label: label.trim(), scopes: [...scopes], ...expires });
    setSecret(made.secret);
    setLabel("");
    for (const changed of ["keys", "audit"]) refreshAll(changed);
  });
  return (
    <form
      class="card"
      aria-label="Make a key"
      onSubmit={(event) => {
        event.preventDefault();
        void make.run();
      }}
    >
      <h3>Make a key</h3>
      <div class="row">
        <TextField label="For whom or what" value={label} placeholder="ada's notebook" onInput={setLabel} />
        <SelectField label="Good for" value={days} options={LIFETIMES} onChange={setDays} />
      </div>
      <fieldset class="chips">
        <legend>It may</legend>
        {SCOPES.map(([scope, text]) => (
          <Check
            key={scope}
            label={text}
            checked={scopes.includes(scope)}
            onChange={(checked) => setScopes(checked ? [...scopes, scope] : scopes.filter((one) => one !== scope))}
          />
        ))}
      </fieldset>
      <ProblemNotice problem={make.problem} />
      <button type="submit" class="second" disabled={label.trim() === "" || scopes.length === 0 || make.isRunning}>
        Make a key
      </button>
      {secret !== null && (
        <Notice kind="good">
          <strong>Keep it now: it is not shown again.</strong>
          <p>
            <code class="secret">{secret}</code>
          </p>
          <button type="button" class="quiet" onClick={() => setSecret(null)}>
            I have it
          </button>
        </Notice>
      )}
    </form>
  );
}
