import { useMemo } from "preact/hooks";
import { seriesOf, type Series } from "../../lineage/series";
import { LineChart } from "../../parts/LineChart";
import { ProblemNotice } from "../../parts/Notice";
import { useLineage } from "../../state/queries";
import { bytes, ratio } from "../../text/numbers";

const FORMATS: Record<Series["unit"], (value: number | null) => string> = {
  ratio,
  bytes,
  share: (value) => (value === null ? "–" : `${(value * 100).toFixed(1)}%`),
  count: (value) => (value === null ? "–" : value.toLocaleString("en")),
};

/** How a line wears: drift, what is retained, and size, from the base to the chosen version. */
export function LineageCharts({ model, of }: { model: string; of: string }) {
  const line = useLineage(model, of);
  const series = useMemo(() => seriesOf(line.data ?? []), [line.data]);
  return (
    <section aria-labelledby="wear">
      <h2 id="wear">Along the line to {of}</h2>
      <ProblemNotice problem={line.problem} />
      {line.data?.length === 0 && <p class="soft">Choose a later version in the table above: the base has no line.</p>}
      <div class="charts">
        {series.map((one) => (
          <LineChart
            key={one.name}
            title={one.name}
            meaning={one.meaning}
            labels={one.points.map((point) => point.version)}
            lines={[{ name: one.name, values: one.points.map((point) => point.value) }]}
            format={FORMATS[one.unit]}
          />
        ))}
      </div>
    </section>
  );
}
