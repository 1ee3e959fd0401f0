import { useState } from "preact/hooks";
import { post } from "../../api/client";
import { offers } from "../../api/offers";
import { Problem } from "../../api/problem";
import type { EvaluationRequest, Fact } from "../../api/types";
import { readFacts } from "../../facts/read";
import { useAction } from "../../parts/action";
import { Check, SelectField, TextField } from "../../parts/Field";
import { ProblemNotice } from "../../parts/Notice";
import { VersionSelect } from "../../parts/VersionSelect";
import { go } from "../../router";
import { refreshAll } from "../../state/resource";
import { meaningOf } from "../../text/metrics";

const SAMPLE = 200;
const METRICS = ["EM", "GA", "GA_paraphrase", "GA_chat", "ES", "PS", "NS", "S", "portability", "locality", "GE", "drift"] as const satisfies readonly KnownMetric[];
type KnownMetric = NonNullable<EvaluationRequest["metrics"]>[number];
type Metric = (typeof METRICS)[number];
const SOURCES = [
  ["lineage", "the facts in force in its lineage"],
  ["pasted", "facts that I paste"],
] as const;

export function StartForm({ model, of }: { model: string; of: string }) {
  const [version, setVersion] = useState(of);
  const [compared, setCompared] = useState("v0");
  const [source, setSource] = useState<"lineage" | "pasted">("lineage");
  const [pasted, setPasted] = useState("");
  const [metrics, setMetrics] = useState<readonly Metric[]>(["EM", "GA", "drift"]);
  const [isJudged, setJudged] = useState(false);
  const saysAnswers = metrics.some((one) => one === "GA" || one === "GA_chat");
  const start = useAction(async () => {
    const facts = source === "pasted" ? { facts: await factsIn(pasted) } : { facts_of: version, sample: SAMPLE, seed: 0 };
    const body = { model: `${model}@${version}`, metrics: [...metrics], ...(compared === version ? {} : { compare_with: compared }), ...(isJudged && saysAnswers ? { judge: true } : {}), ...facts };
    const job = await post("/v1/evaluations", body as EvaluationRequest);
    refreshAll("evaluations");
    go("evaluations", job.id);
  });
  if (!offers("post", "/v1/evaluations")) return null;
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault();
        void start.run();
      }}
    >
      <h2>Measure a version</h2>
      <div class="row">
        <VersionSelect label="Version" model={model} value={version} onChange={setVersion} withAliases />
        <VersionSelect label="Compared with" model={model} value={compared} onChange={setCompared} withAliases />
        <SelectField label="On" value={source} options={SOURCES} onChange={setSource} />
      </div>
      {source === "pasted" && <TextField label="Facts" lines={4} value={pasted} onInput={setPasted} hint="CSV, JSON or JSON lines, as for a new edit." />}
      <fieldset class="chips">
        <legend>Metrics</legend>
        {METRICS.map((metric) => (
          <Check
            key={metric}
            label={
              <span title={meaningOf(metric).meaning}>
                {meaningOf(metric).title} {meaningOf(metric).title.toLowerCase() !== metric.toLowerCase() && <abbr>{metric}</abbr>}
              </span>
            }
            checked={metrics.includes(metric)}
            onChange={(checked) => setMetrics(checked ? [...metrics, metric] : metrics.filter((one) => one !== metric))}
          />
        ))}
      </fieldset>
      {saysAnswers && <Check label="Also ask the judge that the operator configured: facts and answers are sent there" checked={isJudged} onChange={setJudged} />}
      <ProblemNotice problem={start.problem} />
      <p class="actions">
        <button type="submit" disabled={start.isRunning || metrics.length === 0}>
          Start
        </button>
        {source === "lineage" && <span class="soft">At most {SAMPLE} facts.</span>}
      </p>
    </form>
  );
}

const wrong = (detail: string): Problem => new Problem(422, "The facts cannot be used", detail, "facts");

async function factsIn(text: string): Promise<Fact[]> {
  const read = await readFacts(text);
  if (read.error) throw wrong(read.error);
  const [bad] = read.rows.filter((row) => row.errors.length > 0);
  if (bad) throw wrong(`Line ${bad.line}: ${bad.errors[0]?.field} ${bad.errors[0]?.message}`);
  return read.rows.flatMap((row) => (row.fact ? [row.fact] : []));
}
