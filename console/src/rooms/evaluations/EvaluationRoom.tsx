import { post } from "../../api/client";
import { offers } from "../../api/offers";
import { FINAL_STATES, type EvaluationJob } from "../../api/types";
import { useAction } from "../../parts/action";
import { MetricsTable } from "../../parts/MetricsTable";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { State } from "../../parts/State";
import { Title } from "../../parts/Title";
import { VirtualTable, type Column } from "../../parts/VirtualTable";
import { href } from "../../router";
import { useEvaluation } from "../../state/queries";
import { count, percent, ratio, seconds } from "../../text/numbers";
import { JudgePart } from "./JudgePart";
import { Plots } from "./Plots";
import { ReportPart } from "./ReportPart";
import { worstFacts, type Worst } from "./rows";

const CANCEL = "/v1/evaluations/{evaluation_id}/cancel";

export function EvaluationRoom({ id }: { id: string }) {
  const evaluation = useEvaluation(id);
  const cancel = useAction(async () => {
    await post(CANCEL, undefined, { path: { evaluation_id: id } });
    evaluation.refresh();
  });
  const job = evaluation.data;
  if (!job) return <ProblemNotice problem={evaluation.problem} />;
  const hasEnded = FINAL_STATES.includes(job.state);
  const share = job.progress.total > 0 ? Math.min(1, job.progress.done / job.progress.total) : 0;
  return (
    <>
      <p class="crumbs">
        <a href={href("evaluations")}>Evaluations</a>
      </p>
      <Title
        name={
          <>
            {job.model} {job.compare_with && `beside ${job.compare_with}`} <State of={job.state} />
          </>
        }
      >
        Measured on {count(job.n_facts, "fact")}.
      </Title>
      {!hasEnded && (
        <div class="progress">
          <progress max={1} value={share} aria-label={job.progress.stage} />
          <span role="status">
            {job.progress.stage} {percent(share)}
            {job.progress.eta_seconds != null && job.progress.eta_seconds > 0 && `, about ${seconds(job.progress.eta_seconds)} left`}
          </span>
          {offers("post", CANCEL) && (
            <button type="button" class="second" onClick={() => void cancel.run()}>
              Cancel
            </button>
          )}
        </div>
      )}
      <ProblemNotice problem={cancel.problem} />
      {job.error && (
        <Notice kind="bad">
          <strong>{job.error.title}.</strong> {job.error.detail}
        </Notice>
      )}
      <ReportPart id={id} />
      {job.metrics && (
        <>
          <Plots jobs={[job]} />
          <div class="tables spaced">
            <MetricsTable caption="Measured" columns={job.metrics} />
          </div>
        </>
      )}
      {job.judge && <JudgePart judge={job.judge} />}
      {(job.facts?.length ?? 0) > 0 && <WorstFacts job={job} />}
    </>
  );
}

function WorstFacts({ job }: { job: EvaluationJob }) {
  const columns: Column<Worst>[] = [
    { head: "#", class: "number", cell: (row) => row.fact },
    { head: "prompt", class: "wide", cell: (row) => row.prompt },
    { head: "said", cell: (row) => (row.isSaid ? "yes" : <span class="wrong">no</span>) },
    { head: "log-probability", class: "number", cell: (row) => ratio(row.logProbability) },
    ...(job.judge ? [{ head: "judged", class: "wide", cell: (row: Worst) => <Verdict of={row.verdict} /> }] : []),
    { head: `${job.model} goes on`, class: "wide", cell: (row) => row.greedy },
    ...(job.compare_with ? [{ head: `${job.compare_with} goes on`, class: "wide", cell: (row: Worst) => row.compared }] : []),
  ];
  const rows = worstFacts(job);
  return (
    <section aria-labelledby="worst">
      <h2 id="worst">Facts, worst first</h2>
      <VirtualTable label="Facts and what was said" rows={rows} columns={columns} rowHeight={36} height={Math.min(480, rows.length * 36 + 60)} />
    </section>
  );
}

function Verdict({ of }: { of: Worst["verdict"] }) {
  if (of === null) return <span class="soft">–</span>;
  if (of.verdict === null) return <span class="soft">none: {of.reason}</span>;
  return (
    <span class={of.verdict === "yes" ? "right" : "wrong"} title={of.reply ?? undefined}>
      {of.verdict}
    </span>
  );
}
