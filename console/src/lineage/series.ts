/** What is plotted along a lineage, from the versions themselves or from the server's own series. */

import type { LineagePoint, Measurement, Measurements, Version } from "../api/types";

export interface Point {
  version: string;
  value: number | null;
}

export interface Series {
  name: string;
  unit: "ratio" | "bytes";
  points: Point[];
}

/** From the base to `of`, by way of the parents. */
export function lineOf(versions: readonly Version[], of: string): Version[] {
  const byName = new Map(versions.map((one) => [one.version, one]));
  const line: Version[] = [];
  for (let at = byName.get(of); at !== undefined; at = at.parent === null ? undefined : byName.get(at.parent)) {
    line.push(at);
    if (line.length > versions.length) break;
  }
  return line.reverse();
}

export function seriesOf(line: readonly Version[], server: readonly LineagePoint[] | undefined): Series[] {
  const told = server && server.length > 0 ? fromServer(server) : fromVersions(line);
  return told.filter((series) => series.points.some((point) => point.value !== null));
}

function fromVersions(line: readonly Version[]): Series[] {
  const points = (value: (version: Version) => number | null): Point[] =>
    line.map((version) => ({ version: version.version, value: value(version) }));
  return [
    { name: "drift", unit: "ratio", points: points(driftOf) },
    { name: "retained", unit: "ratio", points: points(retainedOf) },
    { name: "size", unit: "bytes", points: points((one) => bytesIn(one.bytes)) },
  ];
}

function fromServer(line: readonly LineagePoint[]): Series[] {
  const points = (value: (point: LineagePoint) => number | null): Point[] =>
    line.map((point) => ({ version: point.version, value: value(point) }));
  return [
    { name: "drift", unit: "ratio", points: points((one) => numberIn(one.drift)) },
    { name: "drift over the parent", unit: "ratio", points: points((one) => numberIn(one.drift_parent)) },
    { name: "retained", unit: "ratio", points: points((one) => scoreIn(one.retained)) },
    { name: "size", unit: "bytes", points: points((one) => bytesIn(one.bytes)) },
  ];
}

/** Against the base, which is 1 by itself. */
const driftOf = (version: Version): number | null =>
  version.parent === null ? 1 : (version.metrics?.drift?.value ?? null);

/** Of the facts in force before a version, the share that is still said after it. */
export function retainedOf(version: Version): number | null {
  const metrics = version.metrics as { retained?: { after?: Measurements | null } | null } | null;
  return scoreIn(metrics?.retained?.after);
}

export function scoreIn(told: LineagePoint["retained"]): number | null {
  if (told === null || told === undefined || typeof told === "number") return told ?? null;
  if ("after" in told) return scoreIn((told as { after?: Measurements }).after);
  if ("value" in told) return (told as Measurement).value;
  const scores = told as Measurements;
  return (scores["EM"] ?? scores["GA"])?.value ?? null;
}

function numberIn(told: Measurement | number | null | undefined): number | null {
  return typeof told === "number" ? told : (told?.value ?? null);
}

/** What a version adds: its delta, and the matrices that only it has. */
export function bytesIn(told: LineagePoint["bytes"]): number | null {
  if (told === null || told === undefined || typeof told === "number") return told ?? null;
  return (told.delta ?? 0) + (told.matrices ?? 0);
}
