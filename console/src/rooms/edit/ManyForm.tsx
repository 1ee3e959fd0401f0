import { useState } from "preact/hooks";
import type { Problem } from "../../api/problem";
import type { FactError } from "../../facts/check";
import { filled } from "../../facts/mark";
import { readFacts, type FactRow } from "../../facts/read";
import { Check, Field, TextField } from "../../parts/Field";
import { Notice } from "../../parts/Notice";
import { VirtualTable, type Column } from "../../parts/VirtualTable";
import { bytes, count } from "../../text/numbers";
import { fileName, leaveOut, pasted, sentRows, table, takeOffered } from "./draft";
import { serverErrors } from "./server_errors";

const LARGEST_BYTES = 200_000_000;
const SHAPES =
  "CSV with a head (prompt, subject, target_new, target_old, paraphrases; or question and answer), JSON, JSON lines, " +
  "records of CounterFact or zsRE. Subjects may be left out: the console offers some.";

/** A file or a paste, shown as a table with what is wrong in each row before anything is sent. */
export function ManyForm({ most, problem }: { most: number | null; problem: Problem | null }) {
  const [isReading, setReading] = useState(false);
  const [tooLarge, setTooLarge] = useState<string | null>(null);
  const read = async (text: string, name: string | null) => {
    setReading(true);
    fileName.value = name;
    leaveOut.value = false;
    takeOffered.value = false;
    table.value = await readFacts(text);
    setReading(false);
  };
  const choose = async (file: File | undefined) => {
    if (!file) return;
    setTooLarge(file.size > LARGEST_BYTES ? `${file.name} has ${bytes(file.size)}; files up to ${bytes(LARGEST_BYTES)} are read.` : null);
    if (file.size <= LARGEST_BYTES) await read(await file.text(), file.name);
  };
  return (
    <section class="card" aria-labelledby="facts-in">
      <h2 id="facts-in">The facts</h2>
      <div class="pair">
        <Field label="A file" hint={SHAPES} error={tooLarge ?? undefined}>
          {(given) => (
            <input
              {...given}
              type="file"
              accept=".csv,.tsv,.json,.jsonl,.ndjson,.txt"
              onChange={(event) => void choose(event.currentTarget.files?.[0])}
            />
          )}
        </Field>
        <div>
          <TextField
            label="Or a paste"
            lines={3}
            value={pasted.value}
            onInput={(text) => {
              pasted.value = text;
            }}
          />
          <button
            type="button"
            class="second"
            disabled={pasted.value.trim() === ""}
            onClick={() => void read(pasted.value, null)}
          >
            Read the paste
          </button>
        </div>
      </div>
      {isReading && <p role="status">Reading…</p>}
      {!isReading && table.value && <FactTable most={most} problem={problem} />}
    </section>
  );
}

function FactTable({ most, problem }: { most: number | null; problem: Problem | null }) {
  const [onlyWrong, setOnlyWrong] = useState(false);
  const shown = table.value;
  if (shown === null) return null;
  if (shown.error) return <Notice kind="bad">{shown.error}</Notice>;
  const refused = serverErrors(problem, sentRows(shown, leaveOut.value, takeOffered.value));
  const errorsOf = (row: FactRow) => [...row.errors, ...(refused.get(row) ?? [])];
  const wrong = shown.rows.filter((row) => errorsOf(row).length > 0);
  const offered = shown.rows.filter((row) => row.isOffered).length;
  const columns: Column<FactRow>[] = [
    { head: "line", class: "number", cell: (row) => row.line },
    ...(wrong.length > 0 ? [{ head: "what is wrong", class: "wide", cell: (row: FactRow) => <Errors of={errorsOf(row)} /> }] : []),
    { head: "prompt", class: "wide", cell: (row) => (row.fact ? filled(row.fact) : <span class="soft">{row.shown}</span>) },
    { head: "subject", cell: (row) => row.fact && <Subject row={row} /> },
    { head: "new target", cell: (row) => row.fact?.target_new },
    { head: "old target", cell: (row) => row.fact?.target_old },
  ];
  return (
    <>
      <p role="status">
        {fileName.value ?? "The paste"}: {shown.format}, {count(shown.rows.length, "row")}, {wrong.length === 0 ? "all right" : `${wrong.length.toLocaleString("en")} with errors`}.
        {most !== null && ` At most ${most.toLocaleString("en")} facts are taken at once.`}
      </p>
      {offered > 0 && (
        <Check
          label={`Take the ${offered === 1 ? "subject that was" : `${offered.toLocaleString("en")} subjects that were`} found in the prompts`}
          checked={takeOffered.value}
          onChange={(checked) => {
            takeOffered.value = checked;
          }}
        />
      )}
      {wrong.length > 0 && (
        <div class="row">
          <Check label="Show only rows with errors" checked={onlyWrong} onChange={setOnlyWrong} />
          <Check
            label={`Leave ${count(wrong.length, "row")} with errors out`}
            checked={leaveOut.value}
            onChange={(checked) => {
              leaveOut.value = checked;
            }}
          />
        </div>
      )}
      <VirtualTable
        label="Facts of the file"
        rows={onlyWrong ? wrong : shown.rows}
        columns={columns}
        rowHeight={34}
        height={420}
        rowClass={(row) => (errorsOf(row).length > 0 ? "bad" : "")}
      />
    </>
  );
}

function Errors({ of }: { of: readonly FactError[] }) {
  return (
    <>
      {of.map((error) => (
        <span key={error.field + error.message} class="wrong" title={`${error.field} ${error.message}`}>
          <strong>{error.field}</strong> {error.message}{" "}
        </span>
      ))}
    </>
  );
}

function Subject({ row }: { row: FactRow }) {
  if (!row.isOffered) return <>{row.fact?.subject}</>;
  return (
    <>
      <mark>{row.fact?.subject}</mark> <span class="soft">found</span>
    </>
  );
}
