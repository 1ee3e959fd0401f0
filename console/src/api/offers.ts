/** What the server has, by its own document, and what the key's scopes allow of it. Nothing else is offered. */

import { computed, signal } from "@preact/signals";
import { getUntyped, type Method } from "./client";
import { Problem } from "./problem";

interface Operation {
  security?: Record<string, string[]>[];
}
interface Document {
  paths: Record<string, Partial<Record<Method, Operation>>>;
  components?: { schemas?: Record<string, { properties?: Record<string, unknown> }> };
  info: { version: string };
}

const ALL = ["generate", "evaluate", "edit", "admin"];

const document = signal<Document | null>(null);
const scopes = signal<readonly string[] | null>(null);

export const serverVersion = computed(() => document.value?.info.version ?? "");
export const scopesAreKnown = computed(() => document.value !== null && scopes.value !== null);
export const heldScopes = computed(() => scopes.value ?? []);

/** Whether the server has such a route and the key may use it. */
export function offers(method: Method, path: string): boolean {
  const operation = document.value?.paths[path]?.[method];
  return operation !== undefined && isMet(operation.security ?? [], scopes.value ?? []);
}

/** Whether a body of the server's knows a field. */
export const knowsField = (schema: string, field: string): boolean =>
  document.value?.components?.schemas?.[schema]?.properties?.[field] !== undefined;

/** Any of the scopes that an operation names will do, none named means any key, and `admin` stands for all. */
export function isMet(security: readonly Record<string, string[]>[], held: readonly string[]): boolean {
  const wanted = security.flatMap((entry) => Object.values(entry).flat());
  return wanted.length === 0 || held.includes("admin") || wanted.some((scope) => held.includes(scope));
}

/** Learn both; again after another key was given. Raises Problem. */
export async function learnOffers(): Promise<void> {
  document.value ??= await getUntyped<Document>("/openapi.json");
  scopes.value = await askScopes();
}

/** No route tells a key its own scopes. The one for administrators does, where it refuses. */
async function askScopes(): Promise<readonly string[]> {
  try {
    await getUntyped("/v1/audit", { query: { limit: 1 } });
    return ALL;
  } catch (error) {
    if (error instanceof Problem && error.status === 403) return scopesIn(error.detail);
    throw error;
  }
}

/** From "this needs an API key with the scope admin; this one has edit, generate". Where that cannot be read, every
 * scope: the server refuses what is not allowed. */
export function scopesIn(detail: string): readonly string[] {
  const found = /this one has ([a-z, ]+)/.exec(detail);
  if (found === null) return ALL;
  return ALL.filter((scope) => (found[1] ?? "").split(/[ ,]+/).includes(scope));
}
