/** What is plotted along a lineage. */

import type { LineageEntry, Version } from "../api/types";

export interface Point {
  version: string;
  value: number | null;
}

export interface Series {
  name: string;
  unit: "ratio" | "share" | "bytes" | "count";
  /** What it says, for whoever has not met the word. */
  meaning: string;
  points: Point[];
}

/** From the base, which is in no lineage's list, on; without those of which nothing is known. */
export function seriesOf(line: readonly LineageEntry[]): Series[] {
  const points = (base: number | null, value: (entry: LineageEntry) => number | null): Point[] => [
    { version: "v0", value: base },
    ...line.map((entry) => ({ version: entry.version, value: value(entry) })),
  ];
  const all: Series[] = [
    {
      name: "Drift",
      unit: "ratio",
      meaning: "How much harder ordinary text is to predict than for the untouched model; 1 is unchanged.",
      points: points(1, (entry) => entry.drift),
    },
    {
      name: "Retained",
      unit: "share",
      meaning: "Share of the facts corrected earlier that are still said.",
      points: points(null, (entry) => entry.retained),
    },
    {
      name: "Facts in force",
      unit: "count",
      meaning: "Corrections that a version says.",
      points: points(0, (entry) => entry.facts_in_force),
    },
    { name: "Size", unit: "bytes", meaning: "What each version added to the store.", points: points(0, (entry) => entry.bytes) },
  ];
  return all.filter((series) => series.points.slice(1).some((point) => point.value !== null));
}

/** Of the facts in force before a version, the share that is still said after it. */
export const retainedOf = (version: Version): number | null => version.metrics?.retained?.after?.["EM"]?.value ?? null;

/** What a version adds: its delta, and the matrices that only it has. A list tells the sum. */
export const bytesIn = (told: Version["bytes"]): number => (typeof told === "number" ? told : told.delta + told.matrices);
