import { useRef, useState } from "preact/hooks";
import { partsOf, SLOT, subjectOf } from "../../facts/mark";
import { offeredSubject } from "../../facts/offer";
import { Field, TextField } from "../../parts/Field";
import type { FactDraft } from "./draft";

/** The prompt, in which the subject is marked by selecting it; it can be typed as well. */
export function PromptField(props: {
  draft: FactDraft;
  onChange: (changed: Partial<FactDraft>) => void;
  errors: { prompt?: string | undefined; subject?: string | undefined };
}) {
  const { draft, onChange, errors } = props;
  const box = useRef<HTMLTextAreaElement>(null);
  const [selected, setSelected] = useState("");
  const look = () => {
    const seen = box.current;
    setSelected(seen ? (subjectOf(seen.value, seen.selectionStart, seen.selectionEnd)?.subject ?? "") : "");
  };
  const mark = () => {
    const seen = box.current;
    const found = seen && subjectOf(seen.value, seen.selectionStart, seen.selectionEnd);
    if (found) onChange({ subject: found.subject, near: found.start });
  };
  const offered = draft.subject === "" && !draft.prompt.includes(SLOT) ? offeredSubject(draft.prompt) : null;
  const parts = draft.subject ? partsOf(draft.prompt, draft.subject, draft.near) : null;
  return (
    <>
      <Field
        label="Prompt"
        error={errors.prompt}
        hint="A sentence that breaks off where the answer belongs. Select in it what the fact is about, and mark that (Alt+M)."
      >
        {(given) => (
          <textarea
            {...given}
            ref={box}
            rows={2}
            value={draft.prompt}
            placeholder="The mother tongue of Danielle Darrieux is"
            onInput={(event) => onChange({ prompt: event.currentTarget.value })}
            onSelect={look}
            onKeyUp={look}
            onMouseUp={look}
            onKeyDown={(event) => {
              if (event.altKey && event.key.toLowerCase() === "m") {
                event.preventDefault();
                mark();
              }
            }}
          />
        )}
      </Field>
      <p class="marking">
        {offered && selected === "" ? (
          <button type="button" class="second" onClick={() => onChange({ subject: offered.text, near: offered.start })}>
            Take “{offered.text}” as the subject
          </button>
        ) : (
          <button type="button" class="second" disabled={selected === ""} onClick={mark}>
            Mark {selected ? `“${selected}”` : "the selection"} as the subject
          </button>
        )}
        {parts && (
          <output class="marked" aria-label="The prompt with its subject marked">
            {parts.before}
            <mark>{parts.subject}</mark>
            {parts.after} …
          </output>
        )}
      </p>
      <TextField
        label="Subject"
        value={draft.subject}
        error={errors.subject}
        placeholder="Danielle Darrieux"
        onInput={(subject) => onChange({ subject })}
        hint="Whom or what the fact is about: the correction is tied to these words."
      />
    </>
  );
}
