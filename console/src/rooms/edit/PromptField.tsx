import { useRef, useState } from "preact/hooks";
import { partsOf, subjectOf } from "../../facts/mark";
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
  const parts = draft.subject ? partsOf(draft.prompt, draft.subject, draft.near) : null;
  return (
    <>
      <Field
        label="Prompt"
        error={errors.prompt}
        hint="A text that the answer follows. Select the subject in it, then press the button; Alt+M does the same."
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
        <button type="button" class="second" disabled={selected === ""} onClick={mark}>
          Mark {selected ? `“${selected}”` : "the selection"} as the subject
        </button>
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
      />
    </>
  );
}
