import { useState } from "preact/hooks";
import { offers } from "../../api/offers";
import { get } from "../../api/client";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { chosenModel } from "../../parts/ModelSelect";
import { State } from "../../parts/State";
import { href } from "../../router";
import { useModels, useVersions, type Model } from "../../state/queries";
import { useResource } from "../../state/resource";
import { count } from "../../text/numbers";
import { CompareForm } from "./CompareRoom";
import { LineageCharts } from "./LineageCharts";
import { LineageTable } from "./LineageTable";

export function ModelsRoom() {
  const models = useModels();
  const model = models.data?.find((one) => one.name === chosenModel.value) ?? models.data?.[0];
  if (models.data && !model) {
    return (
      <>
        <h1>Models</h1>
        <Notice kind="plain">
          No worker has registered a model yet. It appears here by itself; <a href={href("health")}>Health</a> says what is awaited.
        </Notice>
      </>
    );
  }
  return (
    <>
      <ProblemNotice problem={models.problem} />
      {model && <ModelView key={model.name} model={model} />}
    </>
  );
}

function ModelView({ model }: { model: Model }) {
  const versions = useVersions(model.name);
  const [of, setOf] = useState("latest");
  const numberOf = (name: string) => model.aliases.find((one) => one.alias === name)?.version ?? name;
  return (
    <>
      <h1>{model.name}</h1>
      <Facts model={model} />
      <p class="actions">
        {offers("post", "/v1/edits") && (
          <a class="button" href={href("edit")}>
            Correct a fact
          </a>
        )}
        {offers("post", "/v1/completions") && (
          <a class="button second" href={href("playground")}>
            Ask it
          </a>
        )}
      </p>
      <ProblemNotice problem={versions.problem} />
      {versions.data && (
        <>
          <LineageTable model={model.name} versions={versions.data} chosen={numberOf(of)} onChoose={setOf} />
          <LineageCharts model={model.name} versions={versions.data} of={numberOf(of)} />
          {offers("get", "/v1/models/{model}/diff") && versions.data.length > 1 && (
            <CompareForm model={model.name} from="v0" to={numberOf("latest")} />
          )}
        </>
      )}
    </>
  );
}

function Facts({ model }: { model: Model }) {
  const statistics = useResource(
    offers("get", "/v1/statistics") ? `statistics ${model.name}` : null,
    async () => (await get("/v1/statistics", { query: { model: model.name, limit: 20 } })).data,
  );
  const layers = (statistics.data ?? []).flatMap((job) => job.statistics ?? []);
  const known = [...new Map(layers.map((one) => [one.layer, one])).values()].sort((a, b) => a.layer - b.layer);
  const isReady = model.state === null || model.state === "ready" || model.state === "available";
  return (
    <dl class="facts">
      <dt>State</dt>
      <dd>
        <State of={model.state ?? "known"} />
        {!isReady && " It answers when its worker is ready."}
      </dd>
      {model.contextLength !== null && (
        <>
          <dt>Context</dt>
          <dd>{count(model.contextLength, "token")}</dd>
        </>
      )}
      {known.length > 0 && (
        <>
          <dt>
            C<sub>0</sub>
          </dt>
          <dd>{known.map((one) => `layer ${one.layer}: ${count(one.tokens, "token")} of ${one.corpus}`).join("; ")}</dd>
        </>
      )}
      <dt>Aliases</dt>
      <dd>
        {model.aliases.map((one) => (
          <a key={one.alias} class="flag" href={href("models", model.name, "versions", one.version)}>
            {one.alias} → {one.version}
          </a>
        ))}
      </dd>
    </dl>
  );
}
