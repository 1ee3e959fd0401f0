/** What a version is, to be marked in a graph. */

import type { Consolidated, Version } from "../api/types";

export type Mark = "base" | "edit" | "revert" | "consolidation";

export function markOf(version: Version & Consolidated): Mark {
  if (version.consolidates) return "consolidation";
  if (version.parent === null) return "base";
  return version.metrics?.reverted || version.algorithm === "revert" ? "revert" : "edit";
}
