import { useMemo } from "preact/hooks";
import type { Version } from "../../api/types";
import { lineOf, seriesOf } from "../../lineage/series";
import { LineChart } from "../../parts/LineChart";
import { useLineage } from "../../state/queries";
import { bytes, ratio } from "../../text/numbers";

/** How a line wears: drift, what is retained, and size, from the base to the chosen version. */
export function LineageCharts({ model, versions, of }: { model: string; versions: readonly Version[]; of: string }) {
  const told = useLineage(model).data;
  const series = useMemo(() => {
    const line = lineOf(versions, of);
    const isWhole = told?.at(-1)?.version === of;
    return seriesOf(line, isWhole ? told : undefined);
  }, [versions, told, of]);
  if ((series[0]?.points.length ?? 0) < 2) return null;
  return (
    <section aria-labelledby="wear">
      <h2 id="wear">Along the line to {of}</h2>
      <div class="charts">
        {series.map((one) => (
          <LineChart
            key={one.name}
            title={one.name}
            labels={one.points.map((point) => point.version)}
            lines={[{ name: one.name, values: one.points.map((point) => point.value) }]}
            format={one.unit === "bytes" ? bytes : ratio}
          />
        ))}
      </div>
    </section>
  );
}
