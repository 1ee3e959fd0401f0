/** What the API would refuse in a fact, found before anything is sent, in words that name the remedy. */

import type { Fact } from "../api/types";
import { SLOT } from "./mark";

export interface FactError {
  field: string;
  message: string;
}

const LONGEST = 10_000;
const MOST_OTHERS = 100;

export function factErrors(fact: Fact): FactError[] {
  const errors: FactError[] = [];
  const add = (field: string, message: string) => errors.push({ field, message });
  for (const field of ["prompt", "subject", "target_new"] as const) {
    if (fact[field].trim() === "") add(field, "is empty; say what it is");
  }
  if (fact.target_old != null && fact.target_old.trim() === "") {
    add("target_old", "is empty; leave it out where the old answer is not known");
  }
  for (const field of ["prompt", "subject", "target_new", "target_old"] as const) {
    const length = fact[field]?.length ?? 0;
    if (length > LONGEST) add(field, `has ${length} characters, at most ${LONGEST} are taken`);
    if (fact[field]?.includes("\0")) add(field, "has a NUL character; take it out");
  }
  const slots = fact.prompt.split(SLOT).length - 1;
  if (slots > 1) add("prompt", "has {} more than once; put it where the subject stands, once");
  if (slots === 0 && fact.prompt.trim() !== "" && fact.subject.trim() !== "" && !fact.prompt.includes(fact.subject)) {
    add("prompt", `does not contain the subject “${short(fact.subject)}”; put {} where the subject stands`);
  }
  if (fact.target_old != null && fact.target_old.trim() !== "" && fact.target_old.trim() === fact.target_new.trim()) {
    add("target_new", `“${short(fact.target_new)}” equals the old target; give the answer that shall replace it`);
  }
  for (const field of ["paraphrases", "neighbors"] as const) {
    const count = fact[field]?.length ?? 0;
    if (count > MOST_OTHERS) add(field, `are ${count}, at most ${MOST_OTHERS} are taken`);
  }
  if (fact.paraphrases?.some((text) => text.trim() === "")) add("paraphrases", "has an empty one; take it out");
  if (fact.neighbors?.some((one) => one.prompt.trim() === "")) add("neighbors", "has an empty prompt; take it out");
  return errors;
}

const short = (text: string): string => (text.length <= 60 ? text : `${text.slice(0, 57)}…`);

/** What makes two facts answers to the same question. */
const question = (fact: Fact): string => `${fact.prompt.trim()}\n${fact.subject.split(/\s+/).filter(Boolean).join(" ")}`;

/** Index of each fact that contradicts an earlier one → that one's index. */
export function contradictions(facts: readonly (Fact | null)[]): Map<number, number> {
  const first = new Map<string, { index: number; target: string }>();
  const found = new Map<number, number>();
  facts.forEach((fact, index) => {
    if (fact === null) return;
    const key = question(fact);
    const earlier = first.get(key);
    if (earlier === undefined) first.set(key, { index, target: fact.target_new.trim() });
    else if (earlier.target !== fact.target_new.trim()) found.set(index, earlier.index);
  });
  return found;
}
