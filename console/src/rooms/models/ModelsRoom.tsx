import { useState } from "preact/hooks";
import { offers } from "../../api/offers";
import { get } from "../../api/client";
import { Facts as AtAGlance, type Fact } from "../../parts/Facts";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { chosenModel } from "../../parts/ModelSelect";
import { State } from "../../parts/State";
import { Title } from "../../parts/Title";
import { href } from "../../router";
import { useModels, useVersions, type Model } from "../../state/queries";
import { useResource } from "../../state/resource";
import { count } from "../../text/numbers";
import { Waiting } from "../requests/Waiting";
import { CompareForm } from "./CompareRoom";
import { FirstSteps } from "./FirstSteps";
import { LineageCharts } from "./LineageCharts";
import { LineageTable } from "./LineageTable";
import { MainActions } from "./MainActions";

export function ModelsRoom() {
  const models = useModels();
  const model = models.data?.find((one) => one.name === chosenModel.value) ?? models.data?.[0];
  if (models.data && !model) {
    return (
      <>
        <Title name="Models">Language models whose facts can be corrected here.</Title>
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
  const isUntouched = versions.data?.length === 1;
  return (
    <>
      <Title name={model.name}>A language model, and every version that corrections have made of it.</Title>
      {model.awaits && <Notice kind="warning">It does not answer yet: {model.awaits}.</Notice>}
      {model.isWorn && (
        <Notice kind="warning">
          <strong>Its latest line is worn.</strong> Facts corrected earlier are being lost, or most of its budget is used; open{" "}
          <a href={href("models", model.name, "versions", "latest")}>the version</a> to consolidate it.
        </Notice>
      )}
      <Waiting model={model.name} />
      <Facts model={model} />
      {isUntouched ? <FirstSteps /> : <MainActions />}
      <ProblemNotice problem={versions.problem} />
      {versions.data && (
        <>
          <LineageTable model={model.name} versions={versions.data} chosen={numberOf(of)} onChoose={setOf} />
          {!isUntouched && <LineageCharts model={model.name} of={numberOf(of)} />}
          {offers("get", "/v1/models/{model}/diff") && !isUntouched && <CompareForm model={model.name} from="v0" to={numberOf("latest")} />}
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
  const madeFrom = new Map<string, number[]>();
  for (const one of known) {
    const source = `${count(one.tokens, "token")} of ${one.corpus === "self" ? "its own text" : one.corpus}`;
    madeFrom.set(source, [...(madeFrom.get(source) ?? []), one.layer]);
  }
  const rows: Fact[] = [
    ["State", <State key="state" of={model.state ?? "known"} />],
    ["Family", model.family && [model.family, model.dtype].filter(Boolean).join(", ")],
    ["Device", model.devices.join(", ")],
    ["Context", model.contextLength !== null && count(model.contextLength, "token")],
    [
      "C0",
      known.length > 0 && (
        <span key="c0" title="Statistics of the model's inner states over ordinary text: what an edit must leave alone.">
          {[...madeFrom].map(([source, of]) => `${of.length === 1 ? "layer" : "layers"} ${of.join(", ")}: ${source}`).join("; ")}
        </span>
      ),
    ],
    [
      "Aliases",
      model.aliases.map((one) => (
        <a key={one.alias} class="flag" href={href("models", model.name, "versions", one.version)}>
          {one.alias} → {one.version}
        </a>
      )),
    ],
  ];
  return <AtAGlance rows={rows} />;
}
