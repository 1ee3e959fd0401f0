/** What was typed into the edit room. It outlives the room: going elsewhere and back, or another key, loses nothing. */

import { signal } from "@preact/signals";
import type { EditRequest, Fact, Setting } from "../../api/types";
import { withSlot } from "../../facts/mark";
import type { FactRow, Table } from "../../facts/read";

export interface FactDraft {
  prompt: string;
  subject: string;
  /** Where the subject was marked in the prompt. */
  near: number | null;
  targetNew: string;
  targetOld: string;
  rewordings: string;
}

export interface Choice {
  algorithm: string;
  /** Setting → what was typed; empty leaves the method's own value. */
  settings: Record<string, string>;
  thresholds: Record<string, string>;
  label: string;
}

export const fresh: FactDraft = { prompt: "", subject: "", near: null, targetNew: "", targetOld: "", rewordings: "" };

export const mode = signal<"one" | "many">("one");
export const factDraft = signal<FactDraft>(fresh);
export const choice = signal<Choice>({ algorithm: "emmet", settings: {}, thresholds: {}, label: "" });
export const onto = signal("latest");
export const table = signal<Table | null>(null);
export const pasted = signal("");
export const fileName = signal<string | null>(null);
export const leaveOut = signal(false);
/** Whether somebody looked at the subjects that were found in the prompts of a file, and takes them. */
export const takeOffered = signal(false);

/** The rows that are sent; none where something must be decided or mended first. */
export function sentRows(read: Table | null, leavesOut: boolean, takesOffered: boolean): FactRow[] {
  const rows = read?.rows ?? [];
  const good = rows.filter((row) => row.fact !== null && row.errors.length === 0);
  if (good.length < rows.length && !leavesOut) return [];
  return good.some((row) => row.isOffered) && !takesOffered ? [] : good;
}

export function factOf(draft: FactDraft): Fact {
  const rewordings = draft.rewordings.split("\n").map((line) => line.trim()).filter(Boolean);
  return {
    prompt: withSlot(draft.prompt, draft.subject, draft.near),
    subject: draft.subject,
    target_new: draft.targetNew,
    ...(draft.targetOld.trim() === "" ? {} : { target_old: draft.targetOld }),
    ...(rewordings.length === 0 ? {} : { paraphrases: rewordings }),
  };
}

/** The value of a setting as it is sent; undefined where nothing, or nothing of its type, was typed. */
export function settingValue(setting: Setting, typed: string): unknown {
  const text = typed.trim();
  if (text === "") return undefined;
  if (setting.type === "text") return text;
  if (setting.type === "boolean") return text === "true";
  if (setting.type === "list of integers") {
    const numbers = text.split(/[\s,]+/).map(Number);
    return numbers.every(Number.isInteger) ? numbers : undefined;
  }
  const number = Number(text);
  return Number.isFinite(number) && (setting.type !== "integer" || Number.isInteger(number)) ? number : undefined;
}

export function settingError(setting: Setting, typed: string): string | undefined {
  if (typed.trim() === "") return undefined;
  const value = settingValue(setting, typed);
  if (value === undefined) return `“${typed}” is no ${setting.type}`;
  for (const one of Array.isArray(value) ? (value as number[]) : [value]) {
    if (typeof one !== "number") continue;
    if (setting.minimum != null && one < setting.minimum) return `must be at least ${setting.minimum}`;
    if (setting.exclusive_minimum != null && one <= setting.exclusive_minimum) return `must be above ${setting.exclusive_minimum}`;
    if (setting.maximum != null && one > setting.maximum) return `must be at most ${setting.maximum}`;
  }
  return undefined;
}

export interface Sending {
  isTrial: boolean;
  /** Edit the rest where the server finds something wrong that could not be seen here. */
  leavesOut: boolean;
}

export function requestOf(model: string, facts: Fact[], chosen: Choice, settings: readonly Setting[], how: Sending): EditRequest {
  const given = settings.map((one) => [one.name, settingValue(one, chosen.settings[one.name] ?? "")] as const);
  const limits = Object.entries(chosen.thresholds).filter(([, typed]) => typed.trim() !== "");
  return {
    model,
    facts,
    algorithm: chosen.algorithm as NonNullable<EditRequest["algorithm"]>,
    settings: Object.fromEntries(given.filter(([, value]) => value !== undefined)),
    thresholds: Object.fromEntries(limits.map(([name, typed]) => [name, Number(typed)])),
    ...(chosen.label.trim() === "" ? {} : { label: chosen.label.trim() }),
    ...(how.leavesOut ? { invalid_facts: "skip" as const } : {}),
    dry_run: how.isTrial,
  };
}
