/** What went wrong with a request, in the server's words where it said any. */

import type { ProblemDetails } from "./types";

export interface FieldError {
  loc: string;
  msg: string;
}

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly code: string,
    readonly fields: readonly FieldError[] = [],
  ) {
    super(detail || title);
  }

  /** Whether no server answered: the same request may succeed later. */
  get isAway(): boolean {
    return this.status === 0;
  }
}

export const away = (): Problem =>
  new Problem(0, "The server does not answer", "Nothing that you typed is lost. The console goes on when it is back.", "away");

/** From an answer that is no success: problem details, OpenAI's envelope, or what a proxy wrote. */
export async function problemOf(answer: Response): Promise<Problem> {
  const body: unknown = await answer.json().catch(() => null);
  return problemFrom(answer.status, body);
}

export function problemFrom(status: number, body: unknown): Problem {
  if (body !== null && typeof body === "object") {
    if ("error" in body && body.error !== null && typeof body.error === "object") {
      const { message, code } = body.error as { message?: string; code?: string };
      return new Problem(status, message ?? "The request failed", message ?? "", code ?? "error");
    }
    if ("title" in body) {
      const told = body as ProblemDetails;
      return new Problem(status, told.title, told.detail, told.code, told.errors ?? []);
    }
  }
  return new Problem(status, `The server answered ${status}`, "A proxy in between may have answered in its place.", "error");
}
