import { useAliases, useVersions } from "../state/queries";
import { SelectField } from "./Field";

/** Versions by their flags and numbers. */
export function VersionSelect(props: {
  label: string;
  model: string;
  value: string;
  onChange: (version: string) => void;
  withAliases?: boolean;
}) {
  const versions = useVersions(props.model).data ?? [];
  const aliases = useAliases(props.model).data ?? [];
  const named = props.withAliases ? aliases.map((one) => [one.alias, `${one.alias} (now ${one.version})`] as const) : [];
  const numbered = versions.map((one) => [one.version, one.label ? `${one.version} · ${one.label}` : one.version] as const);
  const known = [...named, ...numbered];
  const options = known.some(([value]) => value === props.value) ? known : [[props.value, props.value] as const, ...known];
  return <SelectField label={props.label} value={props.value} options={options} onChange={props.onChange} />;
}
