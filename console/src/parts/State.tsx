const GOOD: readonly string[] = ["succeeded", "available", "ready", "deployed", "approved", "agree"];
const BAD: readonly string[] = ["failed", "rejected", "unavailable", "away", "rolled_back", "refused", "differ"];
/** Nobody waits for it, and nobody has to look at it. */
const OVER: readonly string[] = ["cancelled", "withdrawn", "expired", "stale"];

/** How far something is, in a word and a colour. */
export function State({ of }: { of: string }) {
  const kind = GOOD.includes(of) ? "good" : BAD.includes(of) ? "bad" : OVER.includes(of) ? "plain" : "busy";
  return <span class={`state ${kind}`}>{of.replaceAll("_", " ")}</span>;
}
