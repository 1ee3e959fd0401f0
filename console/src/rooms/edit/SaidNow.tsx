import { useEffect, useState } from "preact/hooks";
import { send, serverIsHere } from "../../api/client";
import { offers } from "../../api/offers";
import { Problem } from "../../api/problem";
import type { Completion } from "../../api/types";
import { partsOf } from "../../facts/mark";
import { onto, type FactDraft } from "./draft";

const PAUSE_MILLISECONDS = 700;
const TOKENS = 10;

interface Said {
  version: string;
  text: string;
}

/** What the base and the version that is edited go on with, asked when the typing pauses. */
export function SaidNow({ model, draft }: { model: string; draft: FactDraft }) {
  const [said, setSaid] = useState<Said[] | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const parts = draft.subject === "" ? null : partsOf(draft.prompt, draft.subject, draft.near);
  const prompt = parts ? `${parts.before}${parts.subject}${parts.after}`.trim() : draft.prompt.trim();
  const reference = onto.value;
  // Asked again when the server is back.
  const isHere = serverIsHere.value;
  useEffect(() => {
    if (!isHere || prompt === "" || !offers("post", "/v1/completions")) return;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      ask(model, ["v0", reference], prompt, stop.signal)
        .then((found) => {
          setSaid(found);
          setProblem(null);
        })
        .catch((error: unknown) => {
          if (error instanceof Problem && !error.isAway) setProblem(error.detail || error.title);
        });
    }, PAUSE_MILLISECONDS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [model, reference, prompt, isHere]);
  if (!offers("post", "/v1/completions")) return null;
  return (
    <aside class="card" aria-labelledby="said-now">
      <h2 id="said-now">What is said now</h2>
      {said === null && <p class="soft">Type a prompt: how the model goes on from it today appears here.</p>}
      <dl class="answers" aria-live="polite">
        {said?.map((one) => (
          <div key={one.version}>
            <dt>{one.version === "v0" ? "v0, the base" : one.version}</dt>
            <dd>
              <span class="soft">{prompt}</span> <strong>{one.text.trim() || "(nothing)"}</strong>
            </dd>
          </div>
        ))}
      </dl>
      {problem && <p class="wrong">{problem}</p>}
    </aside>
  );
}

async function ask(model: string, versions: string[], prompt: string, signal: AbortSignal): Promise<Said[]> {
  return Promise.all(
    [...new Set(versions)].map(async (version) => {
      const body = { model: `${model}@${version}`, prompt, max_tokens: TOKENS, temperature: 0 };
      const answer = (await (await send("post", "/v1/completions", { signal }, body)).json()) as Completion;
      return { version, text: answer.choices[0]?.text ?? "" };
    }),
  );
}
