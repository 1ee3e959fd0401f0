import type { Algorithm, Setting } from "../../api/types";
import { Field, SelectField, TextField } from "../../parts/Field";
import { choice, settingError } from "./draft";

const THRESHOLDS = [
  ["EM", "Exact match at least", "Share of the facts that are said, token for token."],
  ["GA", "Greedy answer at least", "Share of the facts whose answer begins with the target."],
  ["drift", "Drift at most", "Perplexity of ordinary text after, over before."],
  ["retained", "Loss of earlier facts at most", "Share of the facts corrected earlier that may be lost."],
] as const;

/** Method and settings, with what the server's own documentation says of each. */
export function MethodForm({ algorithms }: { algorithms: readonly Algorithm[] }) {
  const chosen = algorithms.find((one) => one.name === choice.value.algorithm) ?? algorithms[0];
  if (!chosen) return null;
  const changed = Object.values(choice.value.settings).filter((typed) => typed.trim() !== "").length;
  return (
    <>
      <div>
        <SelectField
          label="Method"
          value={chosen.name}
          options={algorithms.map((one) => [one.name, one.title] as const)}
          onChange={(algorithm) => {
            choice.value = { ...choice.value, algorithm };
          }}
          hint={
            <>
              {chosen.summary} <a href={chosen.paper} rel="noreferrer">The paper</a>.
            </>
          }
        />
      </div>
      <details class="more">
        <summary>Settings and thresholds{changed > 0 && ` (${changed} changed)`}</summary>
        <div class="settings">
          {chosen.settings.map((setting) => (
            <SettingField key={setting.name} setting={setting} />
          ))}
          {THRESHOLDS.map(([name, label, hint]) => (
            <TextField
              key={name}
              label={label}
              hint={`${hint} A batch outside is not published.`}
              value={choice.value.thresholds[name] ?? ""}
              error={numberError(choice.value.thresholds[name] ?? "")}
              placeholder="the server's own"
              onInput={(typed) => {
                choice.value = { ...choice.value, thresholds: { ...choice.value.thresholds, [name]: typed } };
              }}
            />
          ))}
        </div>
      </details>
    </>
  );
}

const numberError = (typed: string): string | undefined =>
  typed.trim() === "" || Number.isFinite(Number(typed)) ? undefined : `“${typed}” is no number`;

function SettingField({ setting }: { setting: Setting }) {
  const typed = choice.value.settings[setting.name] ?? "";
  const change = (value: string) => {
    choice.value = { ...choice.value, settings: { ...choice.value.settings, [setting.name]: value } };
  };
  const own = setting.recommended ?? setting.default;
  const shown = own === null || own === undefined ? "none" : Array.isArray(own) ? own.join(", ") : String(own);
  const choices = setting.type === "boolean" ? ["true", "false"] : setting.choices;
  const range = [
    setting.minimum != null ? `from ${setting.minimum}` : setting.exclusive_minimum != null ? `above ${setting.exclusive_minimum}` : "",
    setting.maximum != null ? `to ${setting.maximum}` : "",
  ].filter(Boolean);
  const hint = `${setting.description} (${[range.join(" "), `${shown} where left empty`].filter(Boolean).join("; ")})`;
  if (!choices) {
    return <TextField label={setting.name} value={typed} placeholder={shown} error={settingError(setting, typed)} onInput={change} hint={hint} />;
  }
  return (
    <Field label={setting.name} hint={hint}>
      {(given) => (
        <select {...given} value={typed} onChange={(event) => change(event.currentTarget.value)}>
          <option value="">the method's own ({shown})</option>
          {choices.map((one) => (
            <option key={one} value={one}>
              {one}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}
