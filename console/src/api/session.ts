/** The API key: asked for once, kept for this tab's session alone, and sent in a header only. */

import { signal } from "@preact/signals";

const PLACE = "emmetd-key";

const key = signal<string | null>(sessionStorage.getItem(PLACE));

/** Whether the server refuses what we have, and the person must be asked. */
export const keyIsWanted = signal(false);

/** What the server said of the last key, in words. */
export const keyProblem = signal<string | null>(null);

export const hasKey = (): boolean => key.value !== null;

export function setKey(value: string): void {
  const trimmed = value.trim();
  sessionStorage.setItem(PLACE, trimmed);
  key.value = trimmed;
}

export function forgetKey(): void {
  sessionStorage.removeItem(PLACE);
  key.value = null;
}

export function authorization(): Record<string, string> {
  return key.peek() === null ? {} : { Authorization: `Bearer ${key.peek()}` };
}
