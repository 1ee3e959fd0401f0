import { post } from "../../api/client";
import { offers } from "../../api/offers";
import { FINAL_STATES, type EditJob } from "../../api/types";
import { useAction } from "../../parts/action";
import { Facts, type Fact } from "../../parts/Facts";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { State } from "../../parts/State";
import { Title } from "../../parts/Title";
import { href } from "../../router";
import { useJobEvents } from "../../state/job_events";
import { useJob } from "../../state/queries";
import { refreshAll } from "../../state/resource";
import { count, seconds, when } from "../../text/numbers";
import { Answers } from "./Answers";
import { LeftOut } from "./LeftOut";
import { Outcome, Trouble } from "./Outcome";
import { Stages } from "./Stages";

export function JobRoom({ id }: { id: string }) {
  const job = useJob(id);
  const life = useJobEvents(id, () => {
    job.refresh();
    for (const changed of ["models", "versions", "aliases", "lineage", "facts"]) refreshAll(changed);
  });
  const cancel = useAction(async () => {
    await post("/v1/edits/{edit_id}/cancel", undefined, { path: { edit_id: id } });
    job.refresh();
  });
  const told = job.data;
  if (!told) return <ProblemNotice problem={job.problem} />;
  const hasEnded = FINAL_STATES.includes(told.state);
  const state = hasEnded ? told.state : (life.events.findLast((event) => event.state)?.state ?? told.state);
  return (
    <>
      <p class="crumbs">
        <a href={href("jobs")}>Jobs</a>
      </p>
      <Title
        name={
          <>
            {told.label ?? title(told)} <State of={state} />
          </>
        }
      />
      <Summary job={told} />
      <Stages job={told} life={life} />
      {!hasEnded && offers("post", "/v1/edits/{edit_id}/cancel") && (
        <p class="actions">
          <button type="button" class="second" disabled={cancel.isRunning} onClick={() => void cancel.run()}>
            Cancel
          </button>
        </p>
      )}
      <ProblemNotice problem={cancel.problem} />
      {told.state === "succeeded" && <Success job={told} />}
      <Trouble job={told} />
      <Answers job={told} hasEnded={hasEnded} />
      <Outcome job={told} />
      <LeftOut job={told} />
    </>
  );
}

const title = (job: EditJob): string =>
  `${{ edit: "Edit", revert: "Revert", consolidation: "Consolidation" }[job.kind as string] ?? "Job"} of ${count(job.facts, "fact")}`;

function Success({ job }: { job: EditJob }) {
  if (job.version === null) {
    return <Notice kind="good">It would be published: every threshold is met. This was a trial, and nothing was published.</Notice>;
  }
  return (
    <Notice kind="good">
      Published as{" "}
      <a href={href("models", job.model, "versions", job.version)}>
        {job.model}@{job.version}
      </a>
      .{" "}
      {offers("post", "/v1/completions") && (
        <a href={href("playground", { versions: `${job.base_version ?? "v0"},${job.version}` })}>Ask both versions</a>
      )}
    </Notice>
  );
}

function Summary({ job }: { job: EditJob }) {
  const took = job.metrics?.seconds ?? {};
  const total = Object.values(took).reduce((sum, one) => sum + one, 0);
  const rows: Fact[] = [
    ["On", `${job.requested}${job.base_version ? ` (${job.base_version})` : ""}`],
    ["Facts", job.left_out ? `${job.facts.toLocaleString("en")}, ${job.left_out.toLocaleString("en")} left out` : job.facts.toLocaleString("en")],
    ["Method", `${job.algorithm}${job.dry_run ? ", a trial" : ""}${job.urgent ? ", urgent" : ""}`],
    ["Consolidates", job.consolidates && <a href={href("models", job.model, "versions", job.consolidates)}>{job.consolidates}</a>],
    ["Accepted", <time key="at" dateTime={job.created_at}>{when(job.created_at)}</time>],
    ["Took", total > 0 && <span key="took" title={Object.entries(took).map(([stage, one]) => `${stage} ${seconds(one)}`).join(", ")}>{seconds(total)}</span>],
  ];
  return <Facts rows={rows} />;
}
