/** What a version is, to be marked in a graph. */

import type { Version } from "../api/types";

export type Mark = "base" | "edit" | "revert" | "consolidation";

export function markOf(version: Version): Mark {
  if (version.parent === null) return "base";
  if (version.consolidates) return "consolidation";
  return version.metrics?.reverted || version.algorithm === "revert" ? "revert" : "edit";
}
