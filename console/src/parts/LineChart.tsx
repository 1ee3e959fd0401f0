import { useId, useState } from "preact/hooks";
import { pathOf, rangeOf, scale, spread, ticks } from "../plot/scale";

export interface ChartLine {
  name: string;
  values: (number | null)[];
}

const WIDTH = 640;
const HEIGHT = 190;
const EDGE = { left: 84, right: 26, top: 12, bottom: 26 };
const MOST_DOTS = 60;

/** Values along named places. Whoever cannot see it has the same numbers as a table below. */
export function LineChart(props: {
  title: string;
  meaning?: string;
  labels: readonly string[];
  lines: readonly ChartLine[];
  format: (value: number | null) => string;
}) {
  const { labels, lines, format } = props;
  const id = useId();
  const [at, setAt] = useState<number | null>(null);
  const [low, high] = rangeOf(lines.flatMap((line) => line.values));
  const x = scale(0, Math.max(1, labels.length - 1), EDGE.left, WIDTH - EDGE.right);
  const y = scale(low, high, HEIGHT - EDGE.bottom, EDGE.top);
  const nearest = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const share = (((event.clientX - box.left) / box.width) * WIDTH - EDGE.left) / (WIDTH - EDGE.left - EDGE.right);
    setAt(Math.max(0, Math.min(labels.length - 1, Math.round(share * (labels.length - 1)))));
  };
  return (
    <figure class="chart">
      <figcaption id={id}>
        {props.title}
        <span class="read" aria-live="off">
          {at !== null &&
            `${labels[at]}: ${lines.map((line) => `${lines.length > 1 ? `${line.name} ` : ""}${format(line.values[at] ?? null)}`).join(", ")}`}
        </span>
      </figcaption>
      {props.meaning && <p class="soft small">{props.meaning}</p>}
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        role="img"
        aria-labelledby={id}
        onPointerMove={nearest}
        onPointerLeave={() => setAt(null)}
      >
        {ticks(low, high, 4).map((value) => (
          <g key={value} class="grid">
            <line x1={EDGE.left} x2={WIDTH - EDGE.right} y1={y(value)} y2={y(value)} />
            <text x={EDGE.left - 8} y={y(value) + 4} text-anchor="end">
              {format(value)}
            </text>
          </g>
        ))}
        {spread(labels.length, 6).map((index) => (
          <text key={index} class="place" x={x(index)} y={HEIGHT - 6} text-anchor="middle">
            {labels[index]}
          </text>
        ))}
        {at !== null && <line class="cursor" x1={x(at)} x2={x(at)} y1={EDGE.top} y2={HEIGHT - EDGE.bottom} />}
        {lines.map((line, number) => (
          <g key={line.name} class={`line hue${number % 6}`}>
            <path d={pathOf(line.values.map((value, index) => (value === null ? null : { x: x(index), y: y(value) })))} />
            {line.values.map(
              (value, index) =>
                value !== null && (line.values.length <= MOST_DOTS || isAlone(line.values, index)) && <circle key={index} cx={x(index)} cy={y(value)} r={3} />,
            )}
          </g>
        ))}
      </svg>
      {lines.length > 1 && <Legend names={lines.map((line) => line.name)} />}
      <details class="numbers">
        <summary>The numbers</summary>
        <div class="scroller" tabIndex={0} role="region" aria-label={`${props.title}, as numbers`}>
          <table>
            <thead>
              <tr>
                <th scope="col">at</th>
                {lines.map((line) => (
                  <th key={line.name} scope="col">
                    {line.name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {spread(labels.length, 200).map((index) => (
                <tr key={index}>
                  <th scope="row">{labels[index]}</th>
                  {lines.map((line) => (
                    <td key={line.name}>{format(line.values[index] ?? null)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  );
}

/** Whether no line leads to or from a value: without a dot it would not be seen. */
const isAlone = (values: readonly (number | null)[], index: number): boolean =>
  (values[index - 1] ?? null) === null && (values[index + 1] ?? null) === null;

export function Legend({ names }: { names: readonly string[] }) {
  return (
    <ul class="legend">
      {names.map((name, number) => (
        <li key={name} class={`hue${number % 6}`}>
          {name}
        </li>
      ))}
    </ul>
  );
}
