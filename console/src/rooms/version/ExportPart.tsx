import { useEffect, useRef, useState } from "preact/hooks";
import { send } from "../../api/client";
import { offers } from "../../api/offers";
import { useAction } from "../../parts/action";
import { SelectField } from "../../parts/Field";
import { ProblemNotice } from "../../parts/Notice";
import { save } from "../../parts/save";

const PATH = "/v1/models/{model}/versions/{version}/export";
const FORMATS = [
  ["peft", "PEFT adapter (zip)", "zip"],
  ["hf", "whole checkpoint for transformers (zip)", "zip"],
  ["gguf-lora", "adapter for llama.cpp and Ollama", "gguf"],
  ["merged", "edited matrices (safetensors)", "safetensors"],
] as const;
const CHOICES = FORMATS.map(([format, name]) => [format, name] as const);
const AGAIN_MILLISECONDS = 1500;

/** A worker prepares the file; the browser then saves it. */
export function ExportPart({ model, version }: { model: string; version: string }) {
  const [format, setFormat] = useState<(typeof FORMATS)[number][0]>("peft");
  const [told, setTold] = useState("");
  const isShown = useRef(true);
  useEffect(() => () => {
    isShown.current = false;
  }, []);
  const make = useAction(async () => {
    setTold("It is being prepared…");
    try {
      for (;;) {
        const answer = await send("get", PATH, { path: { model, version }, query: { format } });
        if (answer.status !== 202) {
          save(await answer.blob(), nameIn(answer) ?? `${model}-${version}.${FORMATS.find(([name]) => name === format)?.[2]}`);
          setTold("It was saved.");
          return;
        }
        await new Promise((done) => setTimeout(done, AGAIN_MILLISECONDS));
        if (!isShown.current) return;
      }
    } catch (error) {
      setTold("");
      throw error;
    }
  });
  if (!offers("get", PATH)) return null;
  return (
    <section class="card" aria-labelledby="export">
      <h2 id="export">Export</h2>
      <p class="soft">Take this version to where else the model runs.</p>
      <div class="row">
        <SelectField label="Format" value={format} options={CHOICES} onChange={setFormat} />
        <button type="button" class="second" disabled={make.isRunning} onClick={() => void make.run()}>
          Export {version}
        </button>
        <span role="status">{told}</span>
      </div>
      <ProblemNotice problem={make.problem} />
    </section>
  );
}

const nameIn = (answer: Response): string | undefined => /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") ?? "")?.[1];
