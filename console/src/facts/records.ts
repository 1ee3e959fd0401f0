/** A record of a file as a fact: our own shape, CounterFact's, zsRE's or a question's, turned as the API turns them. */

import type { Fact } from "../api/types";
import type { FactError } from "./check";
import { SLOT } from "./mark";
import { offeredSubject } from "./offer";

export interface Read {
  fact: Fact | null;
  errors: FactError[];
  /** The file names no subject; this one was found in the prompt, and somebody must look at it. */
  isOffered?: boolean;
}

const NO_SUBJECT = "is missing, and the prompt has no capitalised or quoted words to offer; name it";

type Record_ = Record<string, unknown>;

export const COLUMNS = ["prompt", "subject", "target_new", "target_old", "paraphrases", "neighbors"] as const;
export const NEEDED = ["prompt", "subject", "target_new"] as const;
/** Columns and fields that may be called otherwise: of a question and its answer. */
export const RENAMED: Readonly<Record<string, string>> = { question: "prompt", answer: "target_new" };
/** In the place of a subject: one is to be found in the prompt. */
const AUTO = "auto";
/** What a fact of a newer server may carry besides; passed on as it is, for the server knows what it takes. */
const PASSED_ON = ["aliases", "portability", "locality", "generation_prompts"];

export function readRecord(value: unknown): Read {
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    return refused("record", "is not an object with prompt, subject and target_new");
  }
  const record = value as Record_;
  if ("requested_rewrite" in record) return fromCounterFact(record);
  if ("src" in record && "alt" in record) return fromZsre(record);
  return fromOwn(record);
}

/** `question` and `answer` in the place of `prompt` and `target_new`. */
function renamed(record: Record_): Record_ {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [RENAMED[name] ?? name, value]));
}

function fromOwn(given: Record_): Read {
  const errors: FactError[] = [];
  for (const [name, own] of Object.entries(RENAMED)) {
    if (name in given && own in given) errors.push({ field: name, message: `stands for ${own}, which is there too; keep one of the two` });
  }
  const record = renamed(given);
  for (const name of Object.keys(record)) {
    if (![...COLUMNS, ...PASSED_ON].includes(name)) {
      errors.push({ field: name, message: `is no field of a fact; there are ${COLUMNS.join(", ")}` });
    }
  }
  return built(
    {
      prompt: record["prompt"],
      subject: record["subject"],
      target_new: record["target_new"],
      target_old: record["target_old"],
      paraphrases: record["paraphrases"],
      neighbors: record["neighbors"],
      ...Object.fromEntries(PASSED_ON.filter((name) => name in record).map((name) => [name, record[name]])),
    },
    errors,
  );
}

/** `requested_rewrite`, `paraphrase_prompts`, `neighborhood_prompts` (Meng et al. 2022). */
function fromCounterFact(record: Record_): Read {
  const rewrite = record["requested_rewrite"];
  if (rewrite === null || typeof rewrite !== "object") {
    return refused("requested_rewrite", "must be an object with prompt, subject, target_new and target_true");
  }
  const asked = rewrite as Record_;
  const old = targetOf(asked["target_true"]);
  const nearby = record["neighborhood_prompts"] ?? [];
  return built({
    prompt: asked["prompt"],
    subject: asked["subject"],
    target_new: targetOf(asked["target_new"]),
    target_old: old,
    paraphrases: record["paraphrase_prompts"],
    neighbors: Array.isArray(nearby) ? nearby.map((prompt: unknown) => ({ prompt, target: old })) : nearby,
  });
}

function targetOf(value: unknown): unknown {
  return value !== null && typeof value === "object" ? (value as Record_)["str"] : value;
}

/** `src`, `alt`, `answers`, `rephrase`, `loc`, `loc_ans`, as in MEND (Mitchell et al. 2022). */
function fromZsre(record: Record_): Read {
  const answers = record["answers"];
  const old: unknown = Array.isArray(answers) ? answers[0] : undefined;
  const isSame = typeof old === "string" && String(record["alt"]).trim() === old.trim();
  return built({
    prompt: record["src"],
    subject: record["subject"],
    target_new: record["alt"],
    target_old: isSame ? undefined : old,
    paraphrases: record["rephrase"] ? [record["rephrase"]] : [],
    neighbors: record["loc"] ? [{ prompt: record["loc"], target: record["loc_ans"] }] : [],
  });
}

/** Where no subject is named and no {} says where one stands, the one that the prompt offers. */
function withSubject(given: Record_): { given: Record_; isOffered: boolean } {
  const { prompt, subject } = given;
  const isNamed = subject != null && subject !== "" && (subject !== AUTO || (typeof prompt === "string" && /(?<![\p{L}\p{N}_])auto(?![\p{L}\p{N}_])/u.test(prompt)));
  if (isNamed || typeof prompt !== "string" || prompt.includes(SLOT)) return { given, isOffered: false };
  const span = offeredSubject(prompt);
  if (span === null) return { given, isOffered: false };
  const placed = `${prompt.slice(0, span.start)}${SLOT}${prompt.slice(span.start + span.text.length)}`;
  return { given: { ...given, prompt: placed, subject: span.text }, isOffered: true };
}

/** A fact of texts, or what is no text in it. */
function built(told: Record_, errors: FactError[] = []): Read {
  const { given, isOffered } = withSubject(told);
  for (const field of NEEDED) {
    if (typeof given[field] === "string") continue;
    const isNone = given[field] == null;
    errors.push({ field, message: isNone ? (field === "subject" ? NO_SUBJECT : "is missing") : "is not a text" });
  }
  const old = given["target_old"] ?? undefined;
  if (old !== undefined && typeof old !== "string") errors.push({ field: "target_old", message: "is not a text" });
  const paraphrases = given["paraphrases"] ?? [];
  if (!isTexts(paraphrases)) errors.push({ field: "paraphrases", message: "is not a list of texts" });
  const neighbors = given["neighbors"] ?? [];
  if (!isNeighbors(neighbors)) errors.push({ field: "neighbors", message: "is not a list of objects with a prompt" });
  if (errors.length > 0) return { fact: null, errors };
  const others = Object.fromEntries(PASSED_ON.filter((name) => name in given).map((name) => [name, given[name]]));
  const fact: Fact = {
    prompt: given["prompt"] as string,
    subject: given["subject"] as string,
    target_new: given["target_new"] as string,
    ...(old === undefined ? {} : { target_old: old as string }),
    paraphrases: paraphrases as string[],
    neighbors: neighbors as Fact["neighbors"],
    ...others,
  };
  return { fact, errors, isOffered };
}

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((text) => typeof text === "string");

const isNeighbors = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.every((one: unknown) => one !== null && typeof one === "object" && typeof (one as Record_)["prompt"] === "string");

const refused = (field: string, message: string): Read => ({ fact: null, errors: [{ field, message }] });
