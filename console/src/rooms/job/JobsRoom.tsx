import { offers } from "../../api/offers";
import type { EditJob } from "../../api/types";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { State } from "../../parts/State";
import { Title } from "../../parts/Title";
import { VirtualTable, type Column } from "../../parts/VirtualTable";
import { href } from "../../router";
import { useJobs } from "../../state/queries";
import { when } from "../../text/numbers";

const COLUMNS: Column<EditJob>[] = [
  { head: "state", cell: (job) => <State of={job.state} /> },
  { head: "job", cell: (job) => <a href={href("jobs", job.id)}>{job.label ?? `${job.kind ?? "edit"} …${job.id.slice(-6)}`}</a> },
  { head: "kind", cell: (job) => (job.dry_run ? `${job.kind ?? "edit"}, a trial` : (job.kind ?? "edit")) },
  { head: "model", cell: (job) => job.model },
  { head: "facts", class: "number", cell: (job) => job.facts.toLocaleString("en") },
  { head: "version", cell: (job) => job.version && <a href={href("models", job.model, "versions", job.version)}>{job.version}</a> },
  { head: "accepted", class: "wide", cell: (job) => <time dateTime={job.created_at}>{when(job.created_at)}</time> },
];

export function JobsRoom() {
  const jobs = useJobs();
  return (
    <>
      <Title name="Jobs">Edits, reverts and consolidations, newest first: what runs, and what became of the others.</Title>
      <ProblemNotice problem={jobs.problem} />
      {jobs.data?.length === 0 && (
        <Notice kind="plain">
          Nothing was edited yet. {offers("post", "/v1/edits") && <a href={href("edit")}>Correct a fact</a>}
        </Notice>
      )}
      {jobs.data && jobs.data.length > 0 && (
        <VirtualTable label="Edit batches, newest first" rows={jobs.data} columns={COLUMNS} rowHeight={38} height={640} />
      )}
    </>
  );
}
