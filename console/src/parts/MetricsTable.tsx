import type { MeasurementWithInterval, Measurements } from "../api/types";
import { ratio } from "../text/numbers";

const MEANING: Record<string, string> = {
  ES: "efficacy: the new target is likelier than the old",
  PS: "paraphrase: the same, reworded",
  NS: "neighborhood: other subjects keep their answer",
  S: "harmonic mean of the three",
  EM: "exact match: the target is said, token for token",
  GA: "greedy answer: what is said begins with the target",
  GA_paraphrase: "greedy answer, reworded",
  GA_chat: "greedy answer in conversation",
  GE: "generation entropy: low where text repeats itself",
  portability: "conclusions that follow are drawn",
  locality: "unrelated answers are kept",
  drift: "perplexity of ordinary text, over the base's",
};

/** Measurements side by side: a row a metric, a column a version or a moment. */
export function MetricsTable({ caption, columns }: { caption: string; columns: Record<string, Measurements | null | undefined> }) {
  const names = [...new Set(Object.values(columns).flatMap((column) => Object.keys(column ?? {})))];
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
            <th scope="col">meaning</th>
          </tr>
        </thead>
        <tbody>
          {names.map((name) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              {Object.entries(columns).map(([column, values]) => (
                <td key={column} class="number">
                  <Value of={values?.[name]} />
                </td>
              ))}
              <td class="soft">{MEANING[name] ?? ""}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Value({ of }: { of: MeasurementWithInterval | undefined }) {
  if (!of) return <>–</>;
  const interval = of.low != null && of.high != null ? ` (${ratio(of.low)} to ${ratio(of.high)})` : "";
  return (
    <>
      {ratio(of.value)}
      <span class="soft"> n {of.n}{interval}</span>
    </>
  );
}
