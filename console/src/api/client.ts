/** Every request of the console goes through here: addresses, key, errors, and whether the server is there. */

import { signal } from "@preact/signals";
import { eventsOf, type ServerEvent } from "./event_stream";
import { away, Problem, problemOf } from "./problem";
import type { paths } from "./schema";
import { authorization, keyIsWanted, keyProblem } from "./session";

/** False from the first request that nobody answered to the first that somebody did. */
export const serverIsHere = signal(true);

export type Method = "get" | "post" | "put" | "delete";

/** The paths of the document that know a method. */
type PathsWith<M extends Method> = { [P in keyof paths]: paths[P] extends Record<M, { responses: unknown }> ? P : never }[keyof paths];
type Operation<P extends keyof paths, M extends Method> = paths[P] extends Record<M, infer O> ? O : never;
type Json<R> = R extends { content: { "application/json": infer T } } ? T : never;
type Answer<O> = O extends { responses: infer R } ? Json<R[keyof R & (200 | 201 | 202)]> : never;
type Query<O> = O extends { parameters: { query?: infer Q } } ? Q : never;
type Body<O> = O extends { requestBody?: { content: { "application/json": infer B } } } ? B : never;

export interface Asked {
  path?: Record<string, string>;
  query?: Record<string, string | number | boolean | undefined | null>;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

/** Where the page is served is where the API is: in front of it may be any path prefix. */
const ROOT = new URL(".", document.baseURI);

export function address(path: string, asked: Asked = {}): URL {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(asked.path?.[name] ?? ""));
  const url = new URL(filled.replace(/^\//, ""), ROOT);
  for (const [name, value] of Object.entries(asked.query ?? {})) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, String(value));
  }
  return url;
}

/** The answer, whatever its type. Raises Problem. */
export async function send(method: Method, path: string, asked: Asked = {}, body?: unknown): Promise<Response> {
  const answer = await fetch(address(path, asked), {
    method: method.toUpperCase(),
    headers: {
      ...authorization(),
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      ...asked.headers,
    },
    body: body === undefined ? null : JSON.stringify(body),
    cache: "no-store",
    credentials: "omit",
    ...(asked.signal ? { signal: asked.signal } : {}),
  }).catch((error: unknown) => {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    serverIsHere.value = false;
    throw away();
  });
  serverIsHere.value = true;
  if (answer.ok) return answer;
  const problem = await problemOf(answer);
  if (problem.status === 401) askForKey(problem);
  throw problem;
}

export function get<P extends PathsWith<"get">>(
  path: P,
  asked: Omit<Asked, "query"> & { query?: Query<Operation<P, "get">> } = {},
): Promise<Answer<Operation<P, "get">>> {
  return getUntyped(path, asked as Asked);
}

/** For the document itself, which does not describe itself. */
export async function getUntyped<T>(path: string, asked: Asked = {}): Promise<T> {
  return (await (await send("get", path, asked)).json()) as T;
}

export async function post<P extends PathsWith<"post">>(
  path: P,
  body: Body<Operation<P, "post">> | undefined,
  asked: Asked = {},
): Promise<Answer<Operation<P, "post">>> {
  return (await (await send("post", path, asked, body)).json()) as Answer<Operation<P, "post">>;
}

export async function put<P extends PathsWith<"put">>(
  path: P,
  body: Body<Operation<P, "put">>,
  asked: Asked = {},
): Promise<Answer<Operation<P, "put">>> {
  return (await (await send("put", path, asked, body)).json()) as Answer<Operation<P, "put">>;
}

export async function remove<P extends PathsWith<"delete">>(path: P, asked: Asked = {}): Promise<Answer<Operation<P, "delete">>> {
  return (await (await send("delete", path, asked)).json()) as Answer<Operation<P, "delete">>;
}

/** Server-sent events through fetch, for an EventSource would need the key in its address. */
export async function* stream(method: Method, path: string, asked: Asked, body?: unknown): AsyncGenerator<ServerEvent> {
  const answer = await send(method, path, { ...asked, headers: { Accept: "text/event-stream", ...asked.headers } }, body);
  if (answer.body === null || answer.status === 204) return;
  yield* eventsOf(answer.body);
}

function askForKey(problem: Problem): void {
  keyProblem.value = problem.detail;
  keyIsWanted.value = true;
}
