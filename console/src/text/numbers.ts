/** Numbers as they are read. */

export function ratio(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  return value.toFixed(Math.abs(value) < 10 ? 3 : 1);
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let scaled = value;
  let unit = 0;
  while (scaled >= 1000 && unit < units.length - 1) {
    scaled /= 1000;
    unit += 1;
  }
  return `${unit === 0 || scaled >= 100 ? Math.round(scaled) : scaled.toFixed(1)} ${units[unit]}`;
}

export function seconds(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value < 0.001) return "0 s";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 90) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  if (value < 5400) return `${Math.round(value / 60)} min`;
  return `${(value / 3600).toFixed(1)} h`;
}

/** Whole from a tenth on, but never 100% of what is less. */
export function percent(value: number): string {
  const digits = value < 0.1 || (value > 0.995 && value < 1) ? 1 : 0;
  return `${(value * 100).toFixed(value === 0 ? 0 : digits)}%`;
}

export const count = (value: number, one: string, many = `${one}s`): string =>
  `${value.toLocaleString("en")} ${value === 1 ? one : many}`;

/** In this browser's zone; the whole instant is in the element's `datetime`. */
export function when(instant: string | null | undefined): string {
  if (!instant) return "–";
  return new Date(instant).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}
