import { post } from "../../api/client";
import { offers } from "../../api/offers";
import type { Fact } from "../../api/types";
import { factErrors } from "../../facts/check";
import { useAction } from "../../parts/action";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { chosenModel } from "../../parts/ModelSelect";
import { VersionSelect } from "../../parts/VersionSelect";
import { go } from "../../router";
import { useAlgorithms } from "../../state/queries";
import { refreshAll } from "../../state/resource";
import { count } from "../../text/numbers";
import { choice, factDraft, factOf, fresh, leaveOut, mode, onto, requestOf, settingError, table } from "./draft";
import { FactForm } from "./FactForm";
import { ManyForm } from "./ManyForm";
import { MethodForm } from "./MethodForm";

const MODES = [
  ["one", "One fact"],
  ["many", "Many facts"],
] as const;

export function EditRoom() {
  const model = chosenModel.value;
  const algorithms = useAlgorithms(model);
  const settings = algorithms.data?.data.find((one) => one.name === choice.value.algorithm)?.settings ?? [];
  const most = algorithms.data?.max_facts ?? null;
  const facts = chosenFacts();
  const sendIt = useAction(async (isTrial: boolean) => {
    const reference = onto.value === "latest" ? (model ?? "") : `${model}@${onto.value}`;
    const body = requestOf(reference, facts, choice.value, settings, isTrial);
    const job = await post("/v1/edits", body, { headers: { "Idempotency-Key": idempotencyKey(body) } });
    if (!isTrial && mode.value === "one") factDraft.value = fresh;
    refreshAll("edits");
    go("jobs", job.id);
  });
  if (model === null) return <Notice kind="plain">No model is known yet.</Notice>;
  const wrongSetting = settings.some((one) => settingError(one, choice.value.settings[one.name] ?? ""));
  const isTooMany = most !== null && facts.length > most;
  const isReady = facts.length > 0 && !wrongSetting && !isTooMany && !sendIt.isRunning;
  return (
    <>
      <h1>New edit</h1>
      <div class="tabs" role="group" aria-label="How many facts">
        {MODES.map(([value, text]) => (
          <button
            key={value}
            type="button"
            aria-pressed={mode.value === value}
            onClick={() => {
              mode.value = value;
            }}
          >
            {text}
          </button>
        ))}
      </div>
      {mode.value === "one" ? <FactForm model={model} /> : <ManyForm most={most} problem={sendIt.problem} />}
      <div class="row">
        <VersionSelect
          label="On top of"
          model={model}
          value={onto.value}
          withAliases
          onChange={(version) => {
            onto.value = version;
          }}
        />
      </div>
      <ProblemNotice problem={algorithms.problem} />
      {algorithms.data && <MethodForm algorithms={algorithms.data.data} />}
      {isTooMany && (
        <Notice kind="bad">
          {count(facts.length, "fact")}, and at most {most?.toLocaleString("en")} are taken at once: part the file.
        </Notice>
      )}
      <ProblemNotice problem={sendIt.problem} />
      <div class="actions sticky">
        <button type="button" class="second" disabled={!isReady} onClick={() => void sendIt.run(true)}>
          Try it
        </button>
        <button type="button" disabled={!isReady} onClick={() => void sendIt.run(false)}>
          Publish {facts.length > 1 ? count(facts.length, "fact") : ""}
        </button>
        <span class="soft">
          {facts.length === 0
            ? reasonForNone()
            : "Try it measures everything and publishes nothing."}
          {!offers("post", "/v1/completions") && " This key may not ask for completions."}
        </span>
      </div>
    </>
  );
}

/** Nothing where something must be mended first. */
function chosenFacts(): Fact[] {
  if (mode.value === "one") {
    const fact = factOf(factDraft.value);
    return factErrors(fact).length === 0 ? [fact] : [];
  }
  const rows = table.value?.rows ?? [];
  const good = rows.flatMap((row) => (row.fact && row.errors.length === 0 ? [row.fact] : []));
  return good.length === rows.length || leaveOut.value ? good : [];
}

const reasonForNone = (): string =>
  mode.value === "one"
    ? "Prompt, subject and new target are needed."
    : "Every row must be right, or those with errors be left out.";

const keys = new Map<string, string>();

/** The same for the same request: whoever presses again because no answer came edits once. */
function idempotencyKey(body: unknown): string {
  const text = JSON.stringify(body);
  const known = keys.get(text) ?? randomKey();
  keys.clear();
  keys.set(text, known);
  // What was sent an age ago is meant anew.
  setTimeout(() => keys.delete(text), 60_000);
  return known;
}

/** `crypto.randomUUID` is missing where a page came over plain HTTP from another machine. */
const randomKey = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
