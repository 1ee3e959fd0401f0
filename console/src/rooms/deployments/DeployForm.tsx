import { useState } from "preact/hooks";
import { post } from "../../api/client";
import { offers } from "../../api/offers";
import type { DeploymentFormat } from "../../api/types";
import { useAction } from "../../parts/action";
import { SelectField, TextField } from "../../parts/Field";
import { ProblemNotice } from "../../parts/Notice";
import { VersionSelect } from "../../parts/VersionSelect";
import { go } from "../../router";
import { useAliases } from "../../state/queries";
import { refreshAll } from "../../state/resource";
import { targetIn, wrongWith } from "./words";

const FORMATS = [
  ["auto", "an adapter where it can be, else the checkpoint"],
  ["peft", "an adapter, loaded while the engine runs"],
  ["hf", "the whole checkpoint, to start the engine with"],
] as const satisfies readonly (readonly [DeploymentFormat, string])[];

/** Have an engine elsewhere serve an alias from now on, or one version for good. */
export function DeployForm({ model }: { model: string }) {
  const aliases = useAliases(model).data ?? [];
  const [chosen, setChosen] = useState<string | null>(null);
  const [target, setTarget] = useState("");
  const [name, setName] = useState("");
  const [format, setFormat] = useState<DeploymentFormat>("auto");
  const [folder, setFolder] = useState("");
  const [key, setKey] = useState("");
  const follows = chosen ?? (aliases.some((one) => one.alias === "production") ? "production" : "latest");
  const deploy = useAction(async () => {
    const given = Object.fromEntries(Object.entries({ name, folder, key }).flatMap(([field, typed]) => (typed.trim() ? [[field, typed.trim()]] : [])));
    const made = await post("/v1/deployments", { model: `${model}@${follows}`, target: targetIn(target), format, ...given });
    setKey("");
    for (const changed of ["deployments", "audit"]) refreshAll(changed);
    go("deployments", made.id);
  });
  if (!offers("post", "/v1/deployments")) return null;
  const wrong = wrongWith(target);
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault();
        void deploy.run();
      }}
    >
      <h2>Deploy to an engine</h2>
      <div class="row">
        <VersionSelect label="Serve" model={model} value={follows} onChange={setChosen} withAliases />
        <TextField label="Engine's address" value={target} placeholder="vllm+http://10.0.0.5:8000" onInput={setTarget} error={wrong ?? undefined} />
      </div>
      <p class="soft small">An alias is followed: whenever it moves, the engine is brought there. Engines are those that the setting deployment_targets allows.</p>
      <details class="more">
        <summary>Name, format, folder and key</summary>
        <div class="pair">
          <TextField label="Name there (optional)" value={name} placeholder={`${model}@${follows}`} onInput={setName} hint="What the engine's users ask for." />
          <SelectField label="Format" value={format} options={FORMATS} onChange={setFormat} />
          <TextField label="Folder there (optional)" value={folder} placeholder="/mnt/engines" onInput={setFolder} hint="The deployment folder as the engine sees it, where that is another path." />
          <TextField label="Engine's own key (optional)" isSecret value={key} onInput={setKey} hint="Sent to that engine alone, and never shown again." />
        </div>
      </details>
      <ProblemNotice problem={deploy.problem} />
      <p class="actions">
        <button type="submit" disabled={target.trim() === "" || wrong !== null || deploy.isRunning}>
          Deploy {follows}
        </button>
      </p>
    </form>
  );
}
