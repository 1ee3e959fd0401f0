/** Where the subject stands in a prompt, and how a selection in the text becomes one. */

export const SLOT = "{}";

export interface Marked {
  prompt: string;
  subject: string;
}

/** What stands before the subject, the subject, and what follows. */
export interface Parts {
  before: string;
  subject: string;
  after: string;
}

/** The subject is what was selected, without the white space around it; null where that is nothing. */
export function subjectOf(text: string, start: number, end: number): { subject: string; start: number } | null {
  const chosen = text.slice(start, end);
  const subject = chosen.trim();
  return subject === "" ? null : { subject, start: start + chosen.indexOf(subject) };
}

/** Where `subject` stands: nearest to `near` where one was marked, else as a word of its own, as the API looks for it. */
export function placeOf(prompt: string, subject: string, near: number | null = null): number {
  if (subject === "") return -1;
  const places: number[] = [];
  for (let at = prompt.indexOf(subject); at >= 0; at = prompt.indexOf(subject, at + 1)) places.push(at);
  if (near !== null && places.length > 0) {
    return places.reduce((best, at) => (Math.abs(at - near) < Math.abs(best - near) ? at : best));
  }
  return places.find((at) => isWord(prompt, at, at + subject.length)) ?? places[0] ?? -1;
}

function isWord(text: string, start: number, end: number): boolean {
  const letter = /[\p{L}\p{N}_]/u;
  return !letter.test(text.slice(0, start).slice(-1)) && !letter.test(text.slice(end, end + 1));
}

/** Null where the subject does not stand in the prompt. */
export function partsOf(prompt: string, subject: string, near: number | null = null): Parts | null {
  const slot = prompt.indexOf(SLOT);
  const start = slot >= 0 ? slot : placeOf(prompt, subject, near);
  if (start < 0) return null;
  const length = slot >= 0 ? SLOT.length : subject.length;
  return { before: prompt.slice(0, start), subject, after: prompt.slice(start + length) };
}

/** The prompt as it is sent: with {} where the subject stands. */
export function withSlot(prompt: string, subject: string, near: number | null = null): string {
  const parts = partsOf(prompt, subject, near);
  return parts === null ? prompt : `${parts.before}${SLOT}${parts.after}`;
}

/** The prompt as it is read: with the subject in the place of {}. */
export const filled = (fact: Marked): string => fact.prompt.replace(SLOT, () => fact.subject);
