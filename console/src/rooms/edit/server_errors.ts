/** What the server refused, beside the row that it is about. */

import type { Problem } from "../../api/problem";
import type { FactError } from "../../facts/check";
import type { FactRow } from "../../facts/read";

/** `facts[17].subject` counts in what was sent. */
export function serverErrors(problem: Problem | null, sent: readonly FactRow[]): Map<FactRow, FactError[]> {
  const found = new Map<FactRow, FactError[]>();
  if (problem === null) return found;
  for (const { loc, msg } of problem.fields) {
    const place = /^facts\[(\d+)\](?:\.(.+))?$/.exec(loc);
    const row = place && sent[Number(place[1])];
    if (row) found.set(row, [...(found.get(row) ?? []), { field: place[2] ?? "fact", message: msg }]);
  }
  return found;
}
