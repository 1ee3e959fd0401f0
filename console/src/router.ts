/** Where one is: the part of the address after #, which no server sees and no path prefix changes. */

import { signal } from "@preact/signals";

export interface Route {
  parts: string[];
  query: URLSearchParams;
}

export function parseHash(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const parts = path.split("/").filter(Boolean).map(decoded);
  return { parts, query: new URLSearchParams(query) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function href(...parts: (string | Record<string, string>)[]): string {
  const last = parts.at(-1);
  const query = typeof last === "object" ? `?${new URLSearchParams(last)}` : "";
  const names = parts.filter((part) => typeof part === "string");
  return `#/${names.map(encodeURIComponent).join("/")}${query}`;
}

export const route = signal<Route>(parseHash(location.hash));

export function go(...parts: (string | Record<string, string>)[]): void {
  location.hash = href(...parts);
}

export function followAddress(): void {
  addEventListener("hashchange", () => {
    route.value = parseHash(location.hash);
  });
}
