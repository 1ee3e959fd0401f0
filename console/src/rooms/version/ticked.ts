/** Ticked facts as the one revert that takes them out. */

import type { VersionFact } from "../../api/types";

export interface Revert {
  edits: string[];
  facts: number[];
  of: string | null;
}

export const keyOf = (fact: { edit: string; index: number }): string => `${fact.edit} ${fact.index}`;

/** Batches of which everything is ticked go as a whole, and single facts of one more. Null where they are of several. */
export function revertOf(facts: readonly VersionFact[], ticked: ReadonlySet<string>): Revert | null {
  const batches = new Map<string, { version: string; ticked: number[]; total: number }>();
  for (const fact of facts) {
    if (fact.state !== "in_force") continue;
    const batch = batches.get(fact.edit) ?? { version: fact.version, ticked: [], total: 0 };
    batch.total += 1;
    if (ticked.has(keyOf(fact))) batch.ticked.push(fact.index);
    batches.set(fact.edit, batch);
  }
  const touched = [...batches].filter(([, batch]) => batch.ticked.length > 0);
  const parts = touched.filter(([, batch]) => batch.ticked.length < batch.total);
  if (parts.length > 1) return null;
  const [part] = parts;
  return {
    edits: touched.filter(([, batch]) => batch.ticked.length === batch.total).map(([edit]) => edit),
    facts: part ? part[1].ticked : [],
    of: part ? part[1].version : null,
  };
}
