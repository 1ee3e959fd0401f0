/** What is asked in the playground. It outlives the room, and a share link is all of it. */

import { signal } from "@preact/signals";

export interface Question {
  prompt: string;
  versions: string[];
  isChat: boolean;
  maxTokens: string;
  temperature: string;
}

export const MOST_VERSIONS = 6;

export const question = signal<Question>({
  prompt: "",
  versions: ["v0", "latest"],
  isChat: false,
  maxTokens: "24",
  temperature: "0",
});

/** What a link names, over what was there. */
export function fromQuery(known: Question, query: URLSearchParams): Question {
  const versions = query.get("versions")?.split(",").filter(Boolean).slice(0, MOST_VERSIONS);
  return {
    prompt: query.get("prompt") ?? known.prompt,
    versions: versions && versions.length > 0 ? [...new Set(versions)] : known.versions,
    isChat: query.has("chat") ? query.get("chat") === "1" : known.isChat,
    maxTokens: query.get("tokens") ?? known.maxTokens,
    temperature: query.get("temperature") ?? known.temperature,
  };
}

export function toQuery(model: string, asked: Question): Record<string, string> {
  return {
    model,
    prompt: asked.prompt,
    versions: asked.versions.join(","),
    chat: asked.isChat ? "1" : "0",
    tokens: asked.maxTokens,
    temperature: asked.temperature,
  };
}

export function bodyOf(model: string, version: string, asked: Question): Record<string, unknown> {
  const shared = {
    model: `${model}@${version}`,
    max_tokens: Math.max(1, Math.floor(Number(asked.maxTokens)) || 24),
    temperature: Math.min(2, Math.max(0, Number(asked.temperature) || 0)),
    stream: true,
  };
  return asked.isChat
    ? { ...shared, messages: [{ role: "user", content: asked.prompt }], logprobs: true, top_logprobs: 5 }
    : { ...shared, prompt: asked.prompt, logprobs: 5 };
}
