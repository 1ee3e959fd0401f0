import type { ComponentChildren } from "preact";

/** A name and what is known of it; nothing is shown where nothing is known. */
export type Fact = readonly [string, ComponentChildren];

/** What there is to know of a thing at a glance. */
export function Facts({ rows }: { rows: readonly Fact[] }) {
  return (
    <dl class="glance">
      {rows
        .filter(([, value]) => value !== null && value !== undefined && value !== false && value !== "")
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}
