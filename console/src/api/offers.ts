/** What the server has, by its own document, and what the key's scopes allow of it. Nothing else is offered. */

import { computed, signal } from "@preact/signals";
import { get, getUntyped, type Method } from "./client";
import type { paths } from "./schema";
import type { CallerInfo } from "./types";

interface Operation {
  security?: Record<string, string[]>[];
}
interface Document {
  paths: Record<string, Partial<Record<Method, Operation>>>;
  info: { version: string };
}

/** Who needs no key, where the server asks for none. */
const LOCAL = "local";

const document = signal<Document | null>(null);
const caller = signal<CallerInfo | null>(null);

export const serverVersion = computed(() => document.value?.info.version ?? "");
export const scopesAreKnown = computed(() => document.value !== null && caller.value !== null);
export const ownKey = computed(() => caller.value);
export const asksForKeys = computed(() => caller.value !== null && caller.value.id !== LOCAL);

/** Whether the key may use a route. */
export function offers(method: Method, path: keyof paths): boolean {
  const operation = document.value?.paths[path]?.[method];
  return operation !== undefined && isMet(operation.security ?? [], caller.value?.scopes ?? []);
}

/** Any of the scopes that an operation names will do, none named means any key, and `admin` stands for all. */
export function isMet(security: readonly Record<string, string[]>[], held: readonly string[]): boolean {
  const wanted = security.flatMap((entry) => Object.values(entry).flat());
  return wanted.length === 0 || held.includes("admin") || wanted.some((scope) => held.includes(scope));
}

/** Learn both; again after another key was given. Raises Problem. */
export async function learnOffers(): Promise<void> {
  document.value ??= await getUntyped<Document>("/openapi.json");
  caller.value = await get("/v1/keys/own");
}
