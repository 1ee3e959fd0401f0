import { FINAL_STATES, type EditJob } from "../../api/types";
import type { Life } from "../../state/job_events";
import { percent, seconds } from "../../text/numbers";

const STAGES = ["queued", "planning", "optimising", "solving", "checking"] as const;

/** The stages of a batch, which one it is in, and how far. */
export function Stages({ job, life }: { job: EditJob; life: Life }) {
  const passed = new Map(life.events.flatMap((event) => (event.state ? [[event.state as string, event.at] as const] : [])));
  const hasEnded = FINAL_STATES.includes(job.state);
  const reached = STAGES.findLastIndex((stage) => passed.has(stage) || stage === job.state);
  const progress = life.progress ?? job.progress;
  const share = progress.total > 0 ? Math.min(1, progress.done / progress.total) : 0;
  const end = hasEnded ? job.state : "published";
  return (
    <section aria-label="Progress">
      <ol class="stages">
        {STAGES.map((stage, index) => (
          <li key={stage} class={stageClass(index, reached, hasEnded)} aria-current={index === reached && !hasEnded ? "step" : undefined}>
            {stage}
          </li>
        ))}
        <li class={hasEnded ? (job.state === "succeeded" ? "done" : "ended") : "ahead"}>{end === "succeeded" && job.dry_run ? "tried" : end}</li>
      </ol>
      {!hasEnded && (
        <div class="progress">
          <progress max={1} value={share} aria-label={progress.stage} />
          <span role="status">
            {progress.stage} {percent(share)}
            {progress.eta_seconds != null && progress.eta_seconds > 0 && `, about ${seconds(progress.eta_seconds)} left`}
            {progress.detail && ` · ${progress.detail}`}
          </span>
        </div>
      )}
    </section>
  );
}

function stageClass(index: number, reached: number, hasEnded: boolean): string {
  if (index < reached || (hasEnded && index <= reached)) return "done";
  return index === reached ? "now" : "ahead";
}
