/** Deployments in words: addresses as they are typed, states, and what a check counted. */

import type { Deployment, DeploymentCheck } from "../../api/types";
import { count, seconds } from "../../text/numbers";

/** What each state means for whoever reads the list, as docs/deploying.md has it. */
const MEANINGS: Record<Deployment["state"], string> = {
  pending: "not looked at yet, or waiting for a worker here",
  exporting: "the version is being written for the engine",
  deploying: "the engine loads it",
  checking: "its answers there are compared with those here",
  deployed: "it serves what it shall, and answered as here",
  written: "a checkpoint lies ready: the engine must be started with it",
  away: "the engine does not answer; it is tried again by itself",
  rolled_back: "the version answers otherwise there, so the one before is served",
  refused: "somebody has to change something",
};

export const meaningOf = (state: Deployment["state"]): string => MEANINGS[state];

/** An engine's address as the API wants it; whoever types `http://…` means a vLLM. */
export function targetIn(typed: string): string {
  const text = typed.trim().replace(/\/+$/, "");
  return /^https?:\/\//.test(text) ? `vllm+${text}` : text;
}

/** What is wrong with an address, before it is sent; null where nothing is, or nothing was typed. */
export function wrongWith(typed: string): string | null {
  if (typed.trim() === "" || /^vllm\+https?:\/\/([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$/.test(targetIn(typed))) return null;
  return "Write scheme, host and port: vllm+http://10.0.0.5:8000";
}

/** For how long it has not served what it shall. */
export const lagOf = (deployment: Deployment): string => (deployment.lag_seconds > 0 ? `${seconds(deployment.lag_seconds)} behind` : "in step");

/** "19 of 20 facts, 20 of 20 prompts"; a version without facts has only prompts. */
export function agreed({ said, facts, equal, near_ties: ties, prompts }: DeploymentCheck): string {
  const answered = `${equal + ties} of ${count(prompts, "prompt")}`;
  return facts > 0 ? `${said} of ${count(facts, "fact")}, ${answered}` : answered;
}

export interface Counted {
  what: string;
  meaning: string;
  count: number;
  of: number;
}

/** A check's counts, a row each, of which the last is what speaks against the version. */
export function countsOf(check: DeploymentCheck): Counted[] {
  const { facts, said, prompts, equal, near_ties: ties, different, tolerance } = check;
  return [
    { what: "Facts said there", meaning: "of those that this server says", count: said, of: facts },
    { what: "Ordinary prompts answered alike", meaning: "word for word", count: equal, of: prompts },
    { what: "Parting at a near tie", meaning: `both tokens are as likely here, within ${tolerance} nats`, count: ties, of: prompts },
    { what: "Parting elsewhere", meaning: "at most a tenth may", count: different, of: prompts },
  ];
}
