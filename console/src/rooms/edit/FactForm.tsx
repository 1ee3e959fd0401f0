import { factErrors } from "../../facts/check";
import { TextField } from "../../parts/Field";
import { factDraft, factOf, fresh, type FactDraft } from "./draft";
import { PromptField } from "./PromptField";
import { SaidNow } from "./SaidNow";

/** What is wrong with a field, once something was typed into it. */
function shownErrors(draft: FactDraft): Record<string, string | undefined> {
  const typed: Record<string, boolean> = {
    prompt: draft.prompt !== "" && draft.subject !== "",
    subject: draft.subject !== "",
    target_new: draft.targetNew !== "",
    target_old: draft.targetOld !== "",
    paraphrases: true,
  };
  const errors = factErrors(factOf(draft)).filter((error) => typed[error.field]);
  return Object.fromEntries(errors.map((error) => [error.field, error.message]));
}

export function FactForm({ model }: { model: string }) {
  const draft = factDraft.value;
  const change = (changed: Partial<FactDraft>) => {
    factDraft.value = { ...factDraft.value, ...changed };
  };
  const errors = shownErrors(draft);
  return (
    <div class="beside">
      <section class="card" aria-labelledby="fact">
        <h2 id="fact">The fact</h2>
        <PromptField draft={draft} onChange={change} errors={{ prompt: errors["prompt"], subject: errors["subject"] }} />
        <div class="pair">
          <TextField
            label="New target"
            value={draft.targetNew}
            placeholder="English"
            error={errors["target_new"]}
            onInput={(targetNew) => change({ targetNew })}
            hint="What the model shall say next."
          />
          <TextField
            label="Old target (optional)"
            value={draft.targetOld}
            placeholder="French"
            error={errors["target_old"]}
            onInput={(targetOld) => change({ targetOld })}
            hint="What it says now; to compare how likely either is."
          />
        </div>
        <TextField
          label="Rewordings (optional)"
          lines={2}
          value={draft.rewordings}
          placeholder="Everybody knows that Danielle Darrieux speaks"
          error={errors["paraphrases"]}
          onInput={(rewordings) => change({ rewordings })}
          hint="Other ways to ask, one a line. They are measured, and not edited with."
        />
        <button
          type="button"
          class="quiet"
          disabled={draft === fresh}
          onClick={() => {
            factDraft.value = fresh;
          }}
        >
          Clear
        </button>
      </section>
      <SaidNow model={model} draft={draft} />
    </div>
  );
}
