import type { ComponentChildren } from "preact";

/** A room's name, and in a sentence or two what it is for. */
export function Title({ name, children }: { name: ComponentChildren; children?: ComponentChildren }) {
  return (
    <div class="title">
      <h1>{name}</h1>
      {children && <p class="lead">{children}</p>}
    </div>
  );
}
