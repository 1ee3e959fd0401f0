import { useEffect, useState } from "preact/hooks";
import { offers } from "../../api/offers";
import { TextField } from "../../parts/Field";
import { chosenModel } from "../../parts/ModelSelect";
import { Notice } from "../../parts/Notice";
import { Tabs } from "../../parts/Tabs";
import { Title } from "../../parts/Title";
import { href, route } from "../../router";
import { useAliases, useVersions } from "../../state/queries";
import { AnswerPanel, SurenessLegend } from "./AnswerPanel";
import { fromQuery, MOST_VERSIONS, question, toQuery, type Question } from "./draft";

const WAYS = [
  ["completion", "Completion"],
  ["chat", "Conversation"],
] as const;

export function PlaygroundRoom() {
  const model = chosenModel.value;
  const query = route.value.query;
  const [run, setRun] = useState<{ number: number; asked: Question } | null>(null);
  useEffect(() => {
    question.value = fromQuery(question.value, query);
    const named = query.get("model");
    if (named) chosenModel.value = named;
  }, [query]);
  if (model === null) return <Notice kind="plain">No model is known yet.</Notice>;
  const asked = question.value;
  const change = (changed: Partial<Question>) => {
    question.value = { ...question.value, ...changed };
  };
  return (
    <>
      <Title name="Playground">Ask several versions the same, and read their answers side by side.</Title>
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          setRun({ number: (run?.number ?? 0) + 1, asked: question.value });
        }}
      >
        {offers("post", "/v1/chat/completions") && (
          <Tabs label="How to ask" options={WAYS} value={asked.isChat ? "chat" : "completion"} onChange={(way) => change({ isChat: way === "chat" })} />
        )}
        <TextField
          label={asked.isChat ? "Message" : "Prompt"}
          lines={2}
          value={asked.prompt}
          placeholder={asked.isChat ? "What is the mother tongue of Danielle Darrieux?" : "The mother tongue of Danielle Darrieux is"}
          hint={asked.isChat ? "Asked through the model's chat template, as users ask." : "The model goes on from this text."}
          onInput={(prompt) => change({ prompt })}
        />
        <Versions model={model} chosen={asked.versions} onChange={(versions) => change({ versions })} />
        <div class="row narrow">
          <TextField label="Tokens at most" value={asked.maxTokens} onInput={(maxTokens) => change({ maxTokens })} />
          <TextField label="Temperature" value={asked.temperature} onInput={(temperature) => change({ temperature })} />
        </div>
        <p class="actions">
          <button type="submit" disabled={asked.prompt.trim() === "" || asked.versions.length === 0}>
            Ask
          </button>
          <Share model={model} asked={asked} />
        </p>
      </form>
      {run && <SurenessLegend />}
      {run && (
        <div class="panels">
          {run.asked.versions.map((version) => (
            <AnswerPanel key={`${version} ${run.number}`} model={model} version={version} asked={run.asked} />
          ))}
        </div>
      )}
    </>
  );
}

function Versions(props: { model: string; chosen: string[]; onChange: (versions: string[]) => void }) {
  const aliases = useAliases(props.model).data ?? [];
  const versions = useVersions(props.model).data ?? [];
  const options = [...new Set([...aliases.map((one) => one.alias), ...versions.map((one) => one.version)])];
  const rest = options.filter((one) => !props.chosen.includes(one));
  return (
    <fieldset class="chips">
      <legend>Versions, side by side</legend>
      {props.chosen.map((version) => (
        <button
          key={version}
          type="button"
          class="chip"
          aria-label={`Take out ${version}`}
          onClick={() => props.onChange(props.chosen.filter((one) => one !== version))}
        >
          {version} <span aria-hidden="true">×</span>
        </button>
      ))}
      {props.chosen.length < MOST_VERSIONS && rest.length > 0 && (
        <select
          aria-label="Add a version"
          value=""
          onChange={(event) => {
            const added = event.currentTarget.value;
            if (added) props.onChange([...props.chosen, added]);
          }}
        >
          <option value="">add a version…</option>
          {rest.map((one) => (
            <option key={one} value={one}>
              {one}
            </option>
          ))}
        </select>
      )}
    </fieldset>
  );
}

/** The link names prompt and versions. Whoever opens it is asked for a key of their own. */
function Share({ model, asked }: { model: string; asked: Question }) {
  const [isCopied, setCopied] = useState(false);
  const link = new URL(href("playground", toQuery(model, asked)), location.href).href;
  const copy = async () => {
    await navigator.clipboard.writeText(link);
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return (
    <>
      <a class="button second" href={link} onClick={(event) => {
        if (!isSecureContext) return;
        event.preventDefault();
        copy().catch(() => { location.href = link; });
      }}>
        Share link
      </a>
      <span role="status">{isCopied ? "Copied." : ""}</span>
    </>
  );
}
