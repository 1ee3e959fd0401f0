import type { DeploymentCheck } from "../../api/types";
import { State } from "../../parts/State";
import { percent, seconds, when } from "../../text/numbers";
import { countsOf } from "./words";

/** The newest comparison of greedy answers there and here. */
export function CheckPart({ check }: { check: DeploymentCheck }) {
  const title = `Answers of ${check.version} there, beside those here`;
  return (
    <section aria-labelledby="check">
      <h2 id="check">
        {title} <State of={check.passed ? "agree" : "differ"} />
      </h2>
      <p class="soft">
        Compared at <time dateTime={check.at}>{when(check.at)}</time> in {seconds(check.seconds)}, greedily, word for word.
      </p>
      <div class="tables">
        <div class="scroller" tabIndex={0} role="region" aria-label={title}>
          <table class="metrics">
            <thead>
              <tr>
                <th scope="col">compared</th>
                <th scope="col" class="number">
                  found
                </th>
                <th scope="col" class="number">
                  share
                </th>
              </tr>
            </thead>
            <tbody>
              {countsOf(check).map(({ what, meaning, count, of }) => (
                <tr key={what}>
                  <th scope="row">
                    {what}
                    <span class="meaning">{meaning}</span>
                  </th>
                  <td class="number">
                    {count}&nbsp;of&nbsp;{of}
                  </td>
                  <td class="number">{of > 0 ? percent(count / of) : "–"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </div>
    </section>
  );
}
