import { scale, ticks } from "../plot/scale";
import { Legend } from "./LineChart";

export interface BarGroup {
  name: string;
  bars: { name: string; value: number | null; low?: number | null; high?: number | null }[];
}

const ROW = 22;
const GAP = 12;
const WIDTH = 640;
const LEFT = 140;
const RIGHT = 90;

/** Lying bars in groups, with the interval of each where it has one. Every value is written beside its bar. */
export function BarChart(props: { title: string; groups: readonly BarGroup[]; format: (value: number | null) => string; most?: number }) {
  const { groups, format } = props;
  const names = groups[0]?.bars.map((bar) => bar.name) ?? [];
  const all = groups.flatMap((group) => group.bars.flatMap((bar) => [bar.value ?? 0, bar.high ?? 0]));
  const most = props.most ?? Math.max(...all, 1e-9);
  const x = scale(0, most, LEFT, WIDTH - RIGHT);
  const height = groups.length * (names.length * ROW + GAP) + 22;
  return (
    <figure class="chart">
      <figcaption>{props.title}</figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${height}`} role="img" aria-label={described(props.title, groups, format)}>
        {ticks(0, most, 5).map((value) => (
          <g key={value} class="grid">
            <line x1={x(value)} x2={x(value)} y1={0} y2={height - 20} />
            <text x={x(value)} y={height - 5} text-anchor="middle">
              {format(value)}
            </text>
          </g>
        ))}
        {groups.map((group, at) => {
          const top = at * (names.length * ROW + GAP) + 4;
          return (
            <g key={group.name}>
              <text class="place" x={LEFT - 8} y={top + (names.length * ROW) / 2 + 4} text-anchor="end">
                {group.name}
              </text>
              {group.bars.map((bar, number) => (
                <g key={bar.name} class={`bar hue${number % 6}`}>
                  <rect x={LEFT} y={top + number * ROW} width={Math.max(1, x(bar.value ?? 0) - LEFT)} height={ROW - 4} rx={2} />
                  {bar.low != null && bar.high != null && (
                    <line class="interval" x1={x(bar.low)} x2={x(bar.high)} y1={top + number * ROW + 9} y2={top + number * ROW + 9} />
                  )}
                  <text x={x(Math.max(bar.value ?? 0, bar.high ?? 0)) + 6} y={top + number * ROW + 14}>
                    {format(bar.value)}
                  </text>
                </g>
              ))}
            </g>
          );
        })}
      </svg>
      {names.length > 1 && <Legend names={names} />}
    </figure>
  );
}

const described = (title: string, groups: readonly BarGroup[], format: (value: number | null) => string): string =>
  `${title}. ${groups.map((group) => `${group.name}: ${group.bars.map((bar) => `${bar.name} ${format(bar.value)}`).join(", ")}`).join("; ")}`;
