import { useState } from "preact/hooks";
import { post } from "../../api/client";
import { offers } from "../../api/offers";
import type { Version } from "../../api/types";
import { useAction } from "../../parts/action";
import { TextField } from "../../parts/Field";
import { ProblemNotice } from "../../parts/Notice";
import { go } from "../../router";
import { refreshAll } from "../../state/resource";

const PATH = "/v1/models/{model}/versions/{version}/consolidate";

/** All facts in force solved anew, as one batch on the base: a worn line becomes a short one. */
export function ConsolidatePart({ model, version }: { model: string; version: Version }) {
  const [label, setLabel] = useState("");
  const consolidate = useAction(async () => {
    const body = label.trim() === "" ? {} : { label: label.trim() };
    const job = await post(PATH, body, { path: { model, version: version.version } });
    refreshAll("edits");
    go("jobs", job.id);
  });
  if (!offers("post", PATH) || version.facts_in_force === 0) return null;
  return (
    <section class="card" aria-labelledby="consolidate">
      <h2 id="consolidate">Consolidate</h2>
      <p class="soft">
        Solve all facts in force anew, as one batch on the untouched model. The result is measured beside this version; aliases stay where they are.
      </p>
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          void consolidate.run();
        }}
      >
        <TextField label="Label (optional)" value={label} onInput={setLabel} placeholder="the line of autumn" />
        <button type="submit" class="second" disabled={consolidate.isRunning}>
          Consolidate {version.version}
        </button>
      </form>
      <ProblemNotice problem={consolidate.problem} />
    </section>
  );
}
