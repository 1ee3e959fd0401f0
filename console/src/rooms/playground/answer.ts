/** One version's answer, as it comes. */

import { stream } from "../../api/client";
import { problemFrom } from "../../api/problem";
import type { ChatChunk, CompletionChunk } from "../../api/types";
import { bodyOf, type Question } from "./draft";

export interface Token {
  text: string;
  /** Null where the server tells none. */
  probability: number | null;
  others: { text: string; probability: number }[];
}

export async function* answerOf(model: string, version: string, asked: Question, signal: AbortSignal): AsyncGenerator<Token[]> {
  const path = asked.isChat ? "/v1/chat/completions" : "/v1/completions";
  for await (const { data } of stream("post", path, { signal }, bodyOf(model, version, asked))) {
    if (data === "[DONE]") return;
    const chunk: unknown = JSON.parse(data);
    if (chunk !== null && typeof chunk === "object" && "error" in chunk) throw problemFrom(500, chunk);
    yield asked.isChat ? tokensOfChat(chunk as ChatChunk) : tokensOfCompletion(chunk as CompletionChunk);
  }
}

export function tokensOfCompletion(chunk: CompletionChunk): Token[] {
  const [choice] = chunk.choices;
  if (!choice) return [];
  const told = choice.logprobs;
  // The text of several tokens may come at once, or none of it yet: then what was told is that of whole characters.
  if (!told || told.tokens.join("") !== choice.text) return plain(choice.text);
  return told.tokens.map((text, index) => {
    const others = Object.entries(told.top_logprobs?.[index] ?? {});
    return {
      text,
      probability: chance(told.token_logprobs[index]),
      others: others.map(([other, value]) => ({ text: other, probability: Math.exp(value) })).sort(byProbability),
    };
  });
}

export function tokensOfChat(chunk: ChatChunk): Token[] {
  const [choice] = chunk.choices;
  const text = choice?.delta.content ?? "";
  const told = choice?.logprobs?.content ?? [];
  if (told.map((one) => one.token).join("") !== text) return plain(text);
  return told.map((one) => ({
    text: one.token,
    probability: Math.exp(one.logprob),
    others: one.top_logprobs.map((other) => ({ text: other.token, probability: Math.exp(other.logprob) })).sort(byProbability),
  }));
}

const plain = (text: string): Token[] => (text === "" ? [] : [{ text, probability: null, others: [] }]);
const chance = (logprob: number | null | undefined): number | null => (logprob == null ? null : Math.exp(logprob));
const byProbability = (one: { probability: number }, other: { probability: number }) => other.probability - one.probability;
