import type { EditJob } from "../../api/types";
import { ProblemNotice } from "../../parts/Notice";
import { State } from "../../parts/State";
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
      <h1>Jobs</h1>
      <ProblemNotice problem={jobs.problem} />
      {jobs.data?.length === 0 && <p class="soft">Nothing was edited yet.</p>}
      {jobs.data && jobs.data.length > 0 && (
        <VirtualTable label="Edit batches, newest first" rows={jobs.data} columns={COLUMNS} rowHeight={38} height={640} />
      )}
    </>
  );
}
