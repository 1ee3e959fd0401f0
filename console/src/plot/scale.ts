/** Numbers to places on a drawing. */

/** Round values that cover `low` to `high`, about `count` of them. */
export function ticks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((one) => one * power >= rough * 0.999) ?? 10);
  const found: number[] = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n += 1) found.push(Number((n * step).toPrecision(12)));
  return found;
}

/** The range of what is there, a little wider; around a single value, so that it stands in the middle. */
export function rangeOf(values: readonly (number | null)[]): [number, number] {
  const known = values.filter((value): value is number => value !== null && Number.isFinite(value));
  if (known.length === 0) return [0, 1];
  let low = Infinity;
  let high = -Infinity;
  for (const value of known) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const pad = high > low ? (high - low) * 0.08 : Math.max(Math.abs(high) * 0.05, 0.05);
  return [low >= 0 && low - pad < 0 ? 0 : low - pad, high + pad];
}

export const scale = (low: number, high: number, from: number, to: number) => (value: number): number =>
  high === low ? (from + to) / 2 : from + ((value - low) / (high - low)) * (to - from);

/** A line through the points that are there; it is broken where one is missing. */
export function pathOf(points: readonly ({ x: number; y: number } | null)[]): string {
  let path = "";
  let isDrawing = false;
  for (const point of points) {
    if (point === null) isDrawing = false;
    else {
      path += `${isDrawing ? "L" : "M"}${point.x.toFixed(1)} ${point.y.toFixed(1)}`;
      isDrawing = true;
    }
  }
  return path;
}

/** At most `most` of `length` indices, evenly, the first and last among them. */
export function spread(length: number, most: number): number[] {
  if (length <= most) return Array.from({ length }, (_, index) => index);
  return Array.from({ length: most }, (_, index) => Math.round((index * (length - 1)) / (most - 1)));
}
