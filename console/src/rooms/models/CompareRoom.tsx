import { useState } from "preact/hooks";
import type { VersionDiff, VersionFact } from "../../api/types";
import { filled } from "../../facts/mark";
import { MetricsTable } from "../../parts/MetricsTable";
import { ProblemNotice } from "../../parts/Notice";
import { Title } from "../../parts/Title";
import { VersionSelect } from "../../parts/VersionSelect";
import { go, href, route } from "../../router";
import { useDiff, useVersion } from "../../state/queries";
import { count, ratio } from "../../text/numbers";

export function CompareForm({ model, ...given }: { model: string; from: string; to: string }) {
  const [from, setFrom] = useState(given.from);
  const [to, setTo] = useState(given.to);
  return (
    <section aria-labelledby="compare">
      <h2 id="compare">Compare two versions</h2>
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          go("models", model, "compare", { from, to });
        }}
      >
        <VersionSelect label="From" model={model} value={from} onChange={setFrom} />
        <VersionSelect label="To" model={model} value={to} onChange={setTo} />
        <button type="submit" disabled={from === to}>
          Compare
        </button>
      </form>
    </section>
  );
}

export function CompareRoom({ model }: { model: string }) {
  const from = route.value.query.get("from") ?? "v0";
  const to = route.value.query.get("to") ?? "latest";
  const diff = useDiff(model, from, to);
  return (
    <>
      <p class="crumbs">
        <a href={href("models")}>{model}</a>
      </p>
      <Title name={`${from} and ${to}`}>What the second says and the first does not, how each was measured, and how far the weights went.</Title>
      <CompareForm key={`${from} ${to}`} model={model} from={from} to={to} />
      <ProblemNotice problem={diff.problem} />
      {diff.data && <Difference model={model} diff={diff.data} />}
    </>
  );
}

function Difference({ model, diff }: { model: string; diff: VersionDiff }) {
  const before = useVersion(model, diff.before).data?.metrics;
  const after = useVersion(model, diff.after).data?.metrics;
  return (
    <>
      <p class="soft">Their last common ancestor is {diff.common_ancestor}.</p>
      <div class="cards">
        <FactList title="Facts that came" facts={diff.facts_added.data} total={diff.facts_added.total} />
        <FactList title="Facts that went" facts={diff.facts_taken_out.data} total={diff.facts_taken_out.total} />
      </div>
      <h2>Measured, and how far the weights went</h2>
      <div class="tables">
        <MetricsTable
          caption="Each version's own batch, when it was published"
          columns={{
            [diff.before]: before && { ...before.after, ...(before.drift ? { drift: before.drift } : {}) },
            [diff.after]: after && { ...after.after, ...(after.drift ? { drift: after.drift } : {}) },
          }}
        />
        <Weights diff={diff} />
      </div>
    </>
  );
}

function Weights({ diff }: { diff: VersionDiff }) {
  if (diff.layers.length === 0) return <p class="soft">No layer differs from the base in either.</p>;
  return (
    <div class="scroller" tabIndex={0} role="region" aria-label="Norms by layer">
      <table class="metrics">
        <caption>How far each layer went: the change's Frobenius norm over that of the base's matrix</caption>
        <thead>
          <tr>
            {["layer", diff.before, diff.after, "difference", "cosine"].map((head) => (
              <th key={head} scope="col" class="number">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {diff.layers.map((layer) => (
            <tr key={layer.layer}>
              <th scope="row" class="number">
                {layer.layer}
              </th>
              <td class="number">{norm(layer.before.relative)}</td>
              <td class="number">{norm(layer.after.relative)}</td>
              <td class="number">{norm(layer.difference.relative)}</td>
              <td class="number">{ratio(layer.cosine)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Of small changes, too, three digits are seen. */
const norm = (value: number | null): string => (value === null ? "–" : value === 0 ? "0" : value.toPrecision(3));

function FactList({ title, facts, total }: { title: string; facts: readonly VersionFact[]; total: number }) {
  return (
    <section class="card" aria-label={title}>
      <h2>
        {title} <small>{count(total, "fact")}</small>
      </h2>
      {facts.length === 0 && <p class="soft">None.</p>}
      {facts.length > 0 && (
        <ul class="plain">
          {facts.map((fact) => (
            <li key={`${fact.version} ${fact.index}`}>
              {filled(fact)} <strong>{fact.target_new}</strong> <span class="soft">{fact.version}</span>
            </li>
          ))}
        </ul>
      )}
      {total > facts.length && <p class="soft">The first {facts.length} are shown.</p>}
    </section>
  );
}
