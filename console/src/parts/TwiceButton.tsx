import { useState } from "preact/hooks";

/** Pressed twice, for what it does cannot be undone. `labels` say each time what it is about. */
export function TwiceButton(props: {
  texts: readonly [string, string];
  labels: readonly [string, string];
  isOff: boolean;
  onDo: () => void;
}) {
  const [isAsked, setAsked] = useState(false);
  const at = isAsked ? 1 : 0;
  return (
    <button
      type="button"
      class={isAsked ? "danger" : "quiet"}
      disabled={props.isOff}
      aria-label={props.labels[at]}
      onClick={() => (isAsked ? props.onDo() : setAsked(true))}
      onBlur={() => setAsked(false)}
    >
      {props.texts[at]}
    </button>
  );
}
