import type { Measurement, Measurements } from "../api/types";
import { inUnit, meaningOf } from "../text/metrics";

type Columns = Record<string, Measurements | null | undefined>;

/** Measurements side by side: a row a metric, a column a version or a moment. What counted nothing is left out. */
export function MetricsTable({ caption, columns }: { caption: string; columns: Columns }) {
  const all = Object.values(columns).flatMap((column) => Object.entries(column ?? {}));
  const names = [...new Set(all.filter(([, measured]) => measured.value !== null).map(([name]) => name))];
  if (names.length === 0) return null;
  return (
    <div class="scroller" tabIndex={0} role="region" aria-label={caption}>
      <table class="metrics">
        <caption>{caption}</caption>
        <thead>
          <tr>
            <th scope="col">metric</th>
            {Object.keys(columns).map((name) => (
              <th key={name} scope="col" class="number">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {names.map((name) => (
            <tr key={name}>
              <th scope="row">
                {meaningOf(name).title} {meaningOf(name).title.toLowerCase() !== name.toLowerCase() && <abbr>{name}</abbr>}
                <span class="meaning">{meaningOf(name).meaning}</span>
              </th>
              {Object.entries(columns).map(([column, values]) => (
                <td key={column} class="number">
                  <Value name={name} of={values?.[name]} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Value({ name, of }: { name: string; of: Measurement | undefined }) {
  if (!of || of.value === null) return <span class="soft">–</span>;
  const interval = of.low != null && of.high != null && of.low !== of.high;
  return (
    <>
      {inUnit(name, of.value)}
      <span class="meaning">
        {interval && `${inUnit(name, of.low ?? null)} to ${inUnit(name, of.high ?? null)}, `}of {of.n.toLocaleString("en")}
      </span>
    </>
  );
}
