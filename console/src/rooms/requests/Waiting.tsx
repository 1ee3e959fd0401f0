import { Notice } from "../../parts/Notice";
import { href } from "../../router";
import { useOpenRequests } from "../../state/queries";
import { titleOf } from "./choices";

const MOST_NAMED = 3;

/** That changes of a model's aliases wait, for whoever may see it; nothing where none does. */
export function Waiting({ model }: { model: string }) {
  const open = useOpenRequests(model).data ?? [];
  if (open.length === 0) return null;
  const named = open.slice(0, MOST_NAMED).map(titleOf).join("; ");
  return (
    <Notice kind="warning">
      <strong>{open.length === 1 ? "A change waits for approval." : `${open.length} changes wait for approval.`}</strong> {named}
      {open.length > MOST_NAMED && "; …"}. <a href={href("models", model, "requests")}>Look at {open.length === 1 ? "it" : "them"}</a>
    </Notice>
  );
}
