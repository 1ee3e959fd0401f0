import { address, send } from "../../api/client";
import { asksForKeys, offers } from "../../api/offers";
import { useAction } from "../../parts/action";
import { ProblemNotice } from "../../parts/Notice";
import { save } from "../../parts/save";

const PATH = "/v1/evaluations/{evaluation_id}/report";

/** The evaluation as a page to keep or send. A link cannot send a key, so that with keys the page is fetched and saved. */
export function ReportPart({ id }: { id: string }) {
  const asked = { path: { evaluation_id: id } };
  const fetched = useAction(async () => save(await (await send("get", PATH, asked)).blob(), `${id}.html`));
  if (!offers("get", PATH)) return null;
  return (
    <>
      <p class="actions">
        {asksForKeys.value ? (
          <button type="button" class="second" disabled={fetched.isRunning} onClick={() => void fetched.run()}>
            Save the report
          </button>
        ) : (
          <a class="button second" href={address(PATH, asked).href} target="_blank" rel="noreferrer">
            Read the report
          </a>
        )}
        <span class="soft">A page to keep or send: charts, measurements, the worst facts.</span>
      </p>
      <ProblemNotice problem={fetched.problem} />
    </>
  );
}
