import { useState } from "preact/hooks";
import type { EvaluationSummary } from "../../api/types";
import { chosenModel } from "../../parts/ModelSelect";
import { Notice, ProblemNotice } from "../../parts/Notice";
import { State } from "../../parts/State";
import { Title } from "../../parts/Title";
import { VirtualTable, type Column } from "../../parts/VirtualTable";
import { href, route } from "../../router";
import { useEvaluations } from "../../state/queries";
import { inUnit } from "../../text/metrics";
import { when } from "../../text/numbers";
import { Plots } from "./Plots";
import { StartForm } from "./StartForm";

export function EvaluationsRoom() {
  const evaluations = useEvaluations();
  const [ticked, setTicked] = useState<readonly string[]>([]);
  const query = route.value.query;
  const model = query.get("model") ?? chosenModel.value;
  const shown = evaluations.data?.filter((one) => ticked.includes(one.id)) ?? [];
  const columns: Column<EvaluationSummary>[] = [
    {
      head: "chart",
      cell: (one) => (
        <input
          type="checkbox"
          aria-label={`Chart the evaluation of ${one.model} of ${when(one.created_at)}`}
          disabled={one.metrics === null}
          checked={ticked.includes(one.id)}
          onChange={(event) =>
            setTicked(event.currentTarget.checked ? [...ticked, one.id] : ticked.filter((other) => other !== one.id))
          }
        />
      ),
    },
    { head: "state", cell: (one) => <State of={one.state} /> },
    { head: "version", cell: (one) => <a href={href("evaluations", one.id)}>{one.model}</a> },
    { head: "compared with", cell: (one) => one.compare_with },
    { head: "facts", class: "number", cell: (one) => one.n_facts.toLocaleString("en") },
    { head: "result", class: "wide", cell: (one) => result(one) },
    { head: "asked", class: "wide", cell: (one) => <time dateTime={one.created_at}>{when(one.created_at)}</time> },
  ];
  return (
    <>
      <Title name="Evaluations">Measure any version: are its facts said, and is everything else left alone?</Title>
      {model && <StartForm key={model + (query.get("of") ?? "")} model={model} of={query.get("of") ?? "latest"} />}
      <ProblemNotice problem={evaluations.problem} />
      {evaluations.data?.length === 0 && <Notice kind="plain">Nothing was measured yet. Start above; what was measured is listed here.</Notice>}
      {evaluations.data && evaluations.data.length > 0 && (
        <VirtualTable
          label="Evaluations, newest first"
          rows={evaluations.data}
          columns={columns}
          rowHeight={38}
          height={Math.min(480, evaluations.data.length * 38 + 60)}
        />
      )}
      {shown.length > 0 ? <Plots jobs={shown} /> : evaluations.data && evaluations.data.length > 1 && <p class="soft">Tick several to see their versions on one chart.</p>}
    </>
  );
}

const result = (one: EvaluationSummary): string =>
  Object.entries(one.metrics?.[one.model] ?? {})
    .map(([name, measured]) => `${name} ${inUnit(name, measured.value)}`)
    .join(", ");
