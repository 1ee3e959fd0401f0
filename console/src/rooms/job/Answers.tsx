import { useEffect, useState } from "preact/hooks";
import { post } from "../../api/client";
import { offers } from "../../api/offers";
import { Problem } from "../../api/problem";
import type { EditFact, EditJob } from "../../api/types";
import { filled } from "../../facts/mark";
import { Notice } from "../../parts/Notice";
import { VirtualTable, type Column } from "../../parts/VirtualTable";
import { useJobFacts } from "../../state/queries";

const MOST_FACTS = 1_000;
const ASKED_AT_ONCE = 16;
const MOST_ASKED = 64;
const TOKENS = 10;
/** So many facts are shown large besides. */
const MOST_PAIRS = 3;

interface Row {
  fact: EditFact;
  before: string | undefined;
  after: string | undefined;
}

/** Every fact with what the versions before and after it go on with. */
export function Answers({ job, hasEnded }: { job: EditJob; hasEnded: boolean }) {
  const facts = useJobFacts(job.id, MOST_FACTS).data ?? [];
  const [said, setSaid] = useState<Record<string, string[]>>({});
  const [problem, setProblem] = useState<Problem | null>(null);
  const mayAsk = offers("post", "/v1/completions");
  const versions = [job.base_version, job.version].filter((one) => one !== null);
  useEffect(() => {
    if (!mayAsk || !hasEnded || facts.length === 0) return;
    let isShown = true;
    void (async () => {
      try {
        for (const version of versions) {
          for await (const answers of asked(`${job.model}@${version}`, facts.slice(0, MOST_ASKED).map(filled))) {
            if (!isShown) return;
            setSaid((known) => ({ ...known, [version]: answers }));
          }
        }
      } catch (error) {
        if (error instanceof Problem) setProblem(error);
      }
    })();
    return () => {
      isShown = false;
    };
  }, [hasEnded, facts.length, versions.join()]);
  if (facts.length === 0) return null;
  const rows = facts.map((fact, index): Row => ({ fact, before: said[versions[0] ?? ""]?.[index], after: job.version ? said[job.version]?.[index] : undefined }));
  const columns: Column<Row>[] = [
    { head: "#", class: "number", cell: ({ fact }) => fact.index },
    { head: "prompt", class: "wide", cell: ({ fact }) => filled(fact) },
    { head: "target", cell: ({ fact }) => <strong>{fact.target_new}</strong> },
    ...(mayAsk && hasEnded && versions[0] ? [{ head: `${versions[0]} says`, class: "wide", cell: ({ before }: Row) => before }] : []),
    ...(mayAsk && job.version
      ? [{ head: `${job.version} says`, class: "wide", cell: ({ fact, after }: Row) => <Said text={after} target={fact.target_new} isWanted={job.kind !== "revert"} /> }]
      : []),
  ];
  return (
    <section aria-labelledby="answers">
      <h2 id="answers">{rows.length === 1 ? "What is said" : "Fact by fact"}</h2>
      {problem && <Notice kind="warning">Not all could be asked: {problem.detail || problem.title}</Notice>}
      {mayAsk && hasEnded && versions.length === 2 && rows.length <= MOST_PAIRS && rows.map((row) => (
        <Pair key={row.fact.index} row={row} before={versions[0] ?? ""} after={versions[1] ?? ""} isReverted={job.kind === "revert"} />
      ))}
      <VirtualTable label="Facts and answers" rows={rows} columns={columns} rowHeight={36} height={Math.min(460, rows.length * 36 + 60)} />
      {facts.length > MOST_ASKED && <p class="soft">The first {MOST_ASKED} were asked.</p>}
      {facts.length < job.facts && <p class="soft">The first {facts.length} of {job.facts} are shown.</p>}
    </section>
  );
}

/** The old answer and the new one, side by side. */
function Pair({ row, before, after, isReverted }: { row: Row; before: string; after: string; isReverted: boolean }) {
  const said = (version: string, text: string | undefined, isNew: boolean) => (
    <div class={isNew ? "said-card new" : "said-card"}>
      <p class="which">
        {isNew ? "Now" : "Before"} <span class="soft">{version}</span>
      </p>
      <p>
        <span class="soft">{filled(row.fact)}</span> {text === undefined ? "…" : <strong>{text.trim() || "(nothing)"}</strong>}
      </p>
    </div>
  );
  return (
    <div class="pair-said" role="group" aria-label={isReverted ? "The answer before and after it was taken out" : "The answer before and after the correction"}>
      {said(before, row.before, false)}
      {said(after, row.after, true)}
    </div>
  );
}

/** Of a fact that was taken out, it is right that its target is said no longer. */
function Said({ text, target, isWanted }: { text: string | undefined; target: string; isWanted: boolean }) {
  if (text === undefined) return <span class="soft">…</span>;
  const isSaid = text.trim().startsWith(target.trim());
  const isRight = isSaid === isWanted;
  return (
    <span class={isRight ? "right" : "wrong"}>
      <span aria-hidden="true">{isRight ? "✓ " : "✗ "}</span>
      <span class="hidden">{isSaid ? "said: " : "not said: "}</span>
      {text}
    </span>
  );
}

/** Answers so far, growing by a few prompts at a time. */
async function* asked(model: string, prompts: string[]): AsyncGenerator<string[]> {
  const answers: string[] = [];
  for (let first = 0; first < prompts.length; first += ASKED_AT_ONCE) {
    const some = prompts.slice(first, first + ASKED_AT_ONCE);
    const answer = await post("/v1/completions", { model, prompt: some, max_tokens: TOKENS, temperature: 0 });
    for (const choice of answer.choices) answers[first + choice.index] = choice.text;
    yield [...answers];
  }
}
