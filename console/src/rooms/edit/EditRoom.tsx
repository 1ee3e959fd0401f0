import { post } from "../../api/client";
import type { Fact } from "../../api/types";
import { factErrors } from "../../facts/check";
import { useAction } from "../../parts/action";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { TextField } from "../../parts/Field";
import { chosenModel } from "../../parts/ModelSelect";
import { Tabs } from "../../parts/Tabs";
import { Title } from "../../parts/Title";
import { VersionSelect } from "../../parts/VersionSelect";
import { go } from "../../router";
import { useAlgorithms } from "../../state/queries";
import { refreshAll } from "../../state/resource";
import { count } from "../../text/numbers";
import { choice, factDraft, factOf, fresh, leaveOut, mode, onto, requestOf, sentRows, settingError, table, takeOffered } from "./draft";
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
    const leavesOut = mode.value === "many" && leaveOut.value;
    const body = requestOf(reference, facts, choice.value, settings, { isTrial, leavesOut });
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
      <Title name="New edit">
        Say what the model shall answer from now on. A new version of it is made and measured; the ones before stay as they are.
      </Title>
      <Tabs
        label="How many facts"
        options={MODES}
        value={mode.value}
        onChange={(value) => {
          mode.value = value;
        }}
      />
      {mode.value === "one" ? <FactForm model={model} /> : <ManyForm most={most} problem={sendIt.problem} />}
      <section class="card" aria-labelledby="how">
        <h2 id="how">How it is edited</h2>
        <div class="pair">
          <VersionSelect
            label="On top of"
            model={model}
            value={onto.value}
            withAliases
            onChange={(version) => {
              onto.value = version;
            }}
          />
          <LabelField />
        </div>
        <ProblemNotice problem={algorithms.problem} />
        {algorithms.data && <MethodForm algorithms={algorithms.data.data} />}
      </section>
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
        <span class="soft">{facts.length === 0 ? reasonForNone() : "“Try it” does and measures everything, and publishes nothing."}</span>
      </div>
    </>
  );
}

function LabelField() {
  return (
    <TextField
      label="Label (optional)"
      value={choice.value.label}
      placeholder="corrections of November"
      onInput={(label) => {
        choice.value = { ...choice.value, label };
      }}
      hint="How people find the version again."
    />
  );
}

/** Nothing where something must be mended first. */
function chosenFacts(): Fact[] {
  if (mode.value === "one") {
    const fact = factOf(factDraft.value);
    return factErrors(fact).length === 0 ? [fact] : [];
  }
  return sentRows(table.value, leaveOut.value, takeOffered.value).flatMap((row) => row.fact ?? []);
}

function reasonForNone(): string {
  if (mode.value === "one") return "Prompt, subject and new target are needed.";
  if (table.value === null || table.value.error) return "Choose a file, or paste facts.";
  const hasErrors = table.value.rows.some((row) => row.errors.length > 0) && !leaveOut.value;
  return hasErrors ? "Every row must be right, or those with errors be left out." : "Look at the subjects that were found, and take them.";
}

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
