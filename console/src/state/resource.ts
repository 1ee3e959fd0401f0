/** The one place for what the server told: kept by a name, asked again after a while, shared by all who show it. */

import { effect, signal, untracked, type Signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { serverIsHere } from "../api/client";
import { away, Problem } from "../api/problem";
import { keyIsWanted } from "../api/session";

export interface Resource<T> {
  data: T | undefined;
  problem: Problem | undefined;
  refresh: () => void;
}

class Entry<T> {
  readonly data: Signal<T | undefined> = signal(undefined);
  readonly problem: Signal<Problem | undefined> = signal(undefined);
  users = 0;
  private running = false;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    public load: () => Promise<T>,
    public seconds: (data: T | undefined) => number | null,
  ) {}

  /** Ask now. Where somebody asks already, that answer will do. */
  async refresh(): Promise<void> {
    if (this.running) return;
    this.running = true;
    clearTimeout(this.timer);
    try {
      this.data.value = await this.load();
      this.problem.value = undefined;
    } catch (error) {
      this.problem.value = error instanceof Problem ? error : away();
    } finally {
      this.running = false;
      this.plan();
    }
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private plan(): void {
    const seconds = this.seconds(this.data.peek());
    // What failed for want of a server or a key is asked again by `goOn`, not by the clock.
    if (this.users === 0 || seconds === null || keyIsWanted.peek() || !serverIsHere.peek()) return;
    this.timer = setTimeout(() => void this.refresh(), seconds * 1000);
  }
}

const entries = new Map<string, Entry<unknown>>();
const MOST_KEPT = 200;

/** What `load` returns, from then on kept under `name`; null asks nothing. `seconds` after an answer it is asked again. */
export function useResource<T>(
  name: string | null,
  load: () => Promise<T>,
  seconds: (data: T | undefined) => number | null = () => null,
): Resource<T> {
  const entry = name === null ? null : entryOf(name, load, seconds);
  useEffect(() => {
    if (entry === null) return;
    entry.users += 1;
    void entry.refresh();
    return () => {
      entry.users -= 1;
      if (entry.users === 0) entry.stop();
    };
  }, [entry]);
  return {
    data: entry?.data.value,
    problem: entry?.problem.value,
    refresh: () => void entry?.refresh(),
  };
}

/** Ask again for everything shown whose name begins so; what is not shown is forgotten. */
export function refreshAll(prefix = ""): void {
  for (const [name, entry] of entries) {
    if (!name.startsWith(prefix)) continue;
    if (entry.users > 0) void entry.refresh();
    else entries.delete(name);
  }
}

function entryOf<T>(name: string, load: () => Promise<T>, seconds: (data: T | undefined) => number | null): Entry<T> {
  let entry = entries.get(name) as Entry<T> | undefined;
  if (entry === undefined) {
    if (entries.size >= MOST_KEPT) forgetUnused();
    entry = new Entry(load, seconds);
    entries.set(name, entry as Entry<unknown>);
  }
  entry.load = load;
  entry.seconds = seconds;
  return entry;
}

function forgetUnused(): void {
  for (const [name, entry] of entries) if (entry.users === 0) entries.delete(name);
}

/** When the server is back, or another key was given, everything that is shown is asked for again. */
export function goOnWhenBack(): void {
  let wasAway = false;
  effect(() => {
    const isAway = !serverIsHere.value || keyIsWanted.value;
    if (wasAway && !isAway) untracked(() => refreshAll());
    wasAway = isAway;
  });
}
