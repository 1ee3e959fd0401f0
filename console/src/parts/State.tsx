/** How far something is, in a word and a colour. */
export function State({ of }: { of: string }) {
  const kind =
    of === "succeeded" || of === "available" || of === "ready" ? "good"
    : of === "failed" || of === "rejected" || of === "unavailable" ? "bad"
    : of === "cancelled" ? "plain"
    : "busy";
  return <span class={`state ${kind}`}>{of}</span>;
}
