import type { ComponentChildren } from "preact";
import type { Problem } from "../api/problem";

/** A problem is told at once to who listens, anything else when they have a moment. */
export function Notice({ kind, children }: { kind: "good" | "warning" | "bad" | "plain"; children: ComponentChildren }) {
  return (
    <div class={`notice ${kind}`} role={kind === "bad" ? "alert" : "status"}>
      {children}
    </div>
  );
}

export function ProblemNotice({ problem }: { problem: Problem | undefined | null }) {
  // That the server is away is said once for the whole page, above all rooms.
  if (!problem || problem.isAway || problem.status === 401) return null;
  return (
    <Notice kind="bad">
      <strong>{problem.title}.</strong> {problem.detail !== problem.title && problem.detail}
      {problem.fields.length > 1 && (
        <ul>
          {problem.fields.slice(0, 20).map((field) => (
            <li key={field.loc}>
              <code>{field.loc}</code> {field.msg}
            </li>
          ))}
        </ul>
      )}
    </Notice>
  );
}
