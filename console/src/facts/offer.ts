/** A subject that is offered where none was given, by the API's own rule (api_schemas/subject_spans.py):
 * what is quoted, and runs of capitalised words. offer.cases.json holds both to it. */

export interface Span {
  start: number;
  text: string;
}

const QUOTED = /[“„]([^“”„]+)[”“]|"([^"]+)"|«([^«»]+)»|‘([^‘’]+)’|「([^「」]+)」|『([^『』]+)』|《([^《》]+)》/gdu;
const WORD = /[\p{L}\p{M}\p{N}_]+(?:(?:[-.&/]|['’](?!s(?![\p{L}\p{N}_])))[\p{L}\p{M}\p{N}_]+)*/gu;
const WITHIN = new Set("of the de la le du des da do dos di del della van von der den".split(" "));
const OPENING = new Set(
  (
    "a an the in on at of for to from by with as and or but not is are was were do does did has have had can could will " +
    "would if what who whom whose which where when why how name tell should may it its he she they we you i this that " +
    "these those there here"
  ).split(" "),
);
const ABBREVIATED = new Set("st dr mr mrs ms jr sr mt ft vs".split(" "));

/** Longest first, and of two that are as long the one that comes first. */
export function subjectSpans(prompt: string): Span[] {
  const found = new Map<string, Span>();
  for (const span of [...quoted(prompt), ...capitalised(prompt)]) found.set(`${span.start} ${span.text}`, span);
  return [...found.values()].sort((one, other) => length(other.text) - length(one.text) || one.start - other.start);
}

/** The best one, or null where there is none. */
export const offeredSubject = (prompt: string): Span | null => subjectSpans(prompt)[0] ?? null;

/** In characters, as the API counts. */
const length = (text: string): number => [...text].length;

function quoted(prompt: string): Span[] {
  return [...prompt.matchAll(QUOTED)].flatMap((match) => {
    const group = match.slice(1).findIndex((text) => text !== undefined) + 1;
    const [start] = match.indices?.[group] ?? [0];
    const inside = match[group] ?? "";
    const text = inside.trim();
    return text === "" ? [] : [{ start: start + inside.indexOf(text), text }];
  });
}

interface Word extends Span {
  end: number;
}

function capitalised(prompt: string): Span[] {
  const words = [...prompt.matchAll(WORD)].map((match): Word => ({ start: match.index, text: match[0], end: match.index + match[0].length }));
  const found: Span[] = [];
  for (let at = 0; at < words.length; at += 1) {
    const first = words[at]!;
    if (!isCapitalised(first.text) || (OPENING.has(first.text.toLowerCase()) && beginsSentence(prompt, first))) continue;
    let last = at;
    for (let ahead = at + 1; ahead < words.length && joins(prompt, words[ahead - 1]!, words[ahead]!); ahead += 1) {
      const word = words[ahead]!.text;
      if (isCapitalised(word) || /^\p{N}/u.test(word)) last = ahead;
      else if (!WITHIN.has(word.toLowerCase())) break;
    }
    found.push({ start: first.start, text: prompt.slice(first.start, words[last]!.end) });
    at = last;
  }
  return found;
}

/** Somewhere in it: "iPod" is a name. */
const isCapitalised = (word: string): boolean => /\p{Lu}/u.test(word);

/** Whether only a space stands between two words, or the full stop of an initial or an abbreviation and a space. */
function joins(prompt: string, word: Word, following: Word): boolean {
  const between = prompt.slice(word.end, following.start);
  if (between === " ") return true;
  return (between === ". " || between === ".") && (length(word.text) === 1 || ABBREVIATED.has(word.text.toLowerCase()));
}

function beginsSentence(prompt: string, word: Word): boolean {
  const before = prompt.slice(0, word.start).replace(/[ \t\n"“„«‘(]+$/, "");
  return before === "" || ".?!:".includes(before.slice(-1));
}
