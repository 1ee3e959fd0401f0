/** What the rooms show of the server, each with its name and how long it holds. */

import { get } from "../api/client";
import { offers } from "../api/offers";
import {
  FINAL_STATES,
  type AliasRequest,
  type Deployment,
  type DeploymentEvent,
  type EditFact,
  type EditJob,
  type EvaluationJob,
  type ApiKey,
  type LeftOutFact,
  type LineageEntry,
  type Version,
  type VersionFact,
  type Worker,
} from "../api/types";
import { useResource, type Resource } from "./resource";

const MOST_VERSIONS = 5_000;
const MOST_FACTS = 20_000;
const MOST_KEYS = 5_000;
const MOST_REQUESTS = 1_000;
const MOST_DEPLOYMENTS = 1_000;
const PAGE = 1_000;

const often = () => 3;
const seldom = () => 15;
const untilFinal = (job: { state: string } | undefined) => (job && FINAL_STATES.includes(job.state) ? null : 1.5);

export interface Model {
  name: string;
  state: string | null;
  /** What it still waits for, in the server's words; null where it answers. */
  awaits: string | null;
  family: string | null;
  dtype: string | null;
  devices: string[];
  contextLength: number | null;
  isWorn: boolean;
  aliases: { alias: string; version: string }[];
}

export const useModels = (): Resource<Model[]> => useResource("models", listModels, often);

async function listModels(): Promise<Model[]> {
  const cards = (await get("/v1/models")).data;
  return cards
    .filter((card) => card.id === card.root)
    .map((card) => ({
      name: card.id,
      state: card.state ?? null,
      awaits: card.awaits ?? null,
      family: card.family ?? null,
      dtype: card.dtype ?? null,
      devices: card.devices ?? [],
      contextLength: card.max_model_len ?? null,
      isWorn: card.wear === "worn",
      aliases: cards
        .filter((other) => other.root === card.id && other.id !== card.id && other.parent && !/@v\d+$/.test(other.id))
        .map((other) => ({ alias: after(other.id), version: after(other.parent ?? "") })),
    }));
}

const after = (reference: string): string => reference.slice(reference.indexOf("@") + 1);

/** All versions, newest first. */
export const useVersions = (model: string | null): Resource<Version[]> =>
  useResource(
    model && `versions ${model}`,
    () => all((cursor) => get("/v1/models/{model}/versions", { path: { model: model ?? "" }, query: { cursor, limit: PAGE } }), MOST_VERSIONS),
    seldom,
  );

export const useVersion = (model: string, version: string): Resource<Version> =>
  useResource(`version ${model} ${version}`, () =>
    get("/v1/models/{model}/versions/{version}", { path: { model, version } }),
  );

export const useAliases = (model: string | null) =>
  useResource(
    model && `aliases ${model}`,
    async () => (await get("/v1/models/{model}/aliases", { path: { model: model ?? "" } })).data,
    seldom,
  );

const REQUESTS = "/v1/models/{model}/alias-requests";

/** Changes of a model's aliases that wait for another key, newest first. */
export const useOpenRequests = (model: string): Resource<AliasRequest[]> =>
  useResource(offers("get", REQUESTS) ? `requests open ${model}` : null, () =>
    all((cursor) => get(REQUESTS, { path: { model }, query: { state: "open", cursor, limit: PAGE } }), MOST_REQUESTS), seldom);

/** The newest that were asked for, whatever became of them. */
export const useNewestRequests = (model: string): Resource<AliasRequest[]> =>
  useResource(offers("get", REQUESTS) ? `requests newest ${model}` : null, async () =>
    (await get(REQUESTS, { path: { model }, query: { limit: 100 } })).data, seldom);

/** The versions that lead to `of`, oldest first, as points of series. */
export const useLineage = (model: string, of: string): Resource<LineageEntry[]> =>
  useResource(`lineage ${model} ${of}`, () =>
    all((cursor) => get("/v1/models/{model}/lineage", { path: { model }, query: { of, cursor, limit: PAGE } }), MOST_VERSIONS),
  );

export const useVersionFacts = (model: string, version: string): Resource<VersionFact[]> =>
  useResource(`facts ${model} ${version}`, () =>
    all(
      (cursor) => get("/v1/models/{model}/versions/{version}/facts", { path: { model, version }, query: { cursor, limit: PAGE } }),
      MOST_FACTS,
    ),
  );

export const useDiff = (model: string, from: string, to: string) =>
  useResource(from && to && from !== to ? `diff ${model} ${from} ${to}` : null, () =>
    get("/v1/models/{model}/diff", { path: { model }, query: { from, to } }),
  );

export const useAlgorithms = (model: string | null) =>
  useResource(model && `algorithms ${model}`, () => get("/v1/algorithms", { query: { model: model ?? "" } }));

export const useJobs = () => useResource("edits", async () => (await get("/v1/edits", { query: { limit: 100 } })).data, often);

export const useJob = (id: string): Resource<EditJob> =>
  useResource(`edit ${id}`, () => get("/v1/edits/{edit_id}", { path: { edit_id: id } }), untilFinal);

export const useJobFacts = (id: string, limit: number): Resource<EditFact[]> =>
  useResource(`edit facts ${id}`, async () =>
    (await get("/v1/edits/{edit_id}/facts", { path: { edit_id: id }, query: { limit } })).data,
  );

export const useLeftOut = (id: string, count: number): Resource<LeftOutFact[]> =>
  useResource(count > 0 ? `left out ${id}` : null, () =>
    all((cursor) => get("/v1/edits/{edit_id}/left-out", { path: { edit_id: id }, query: { cursor, limit: PAGE } }), MOST_FACTS),
  );

export const useWorkers = (): Resource<Worker[]> =>
  useResource("workers", async () => (await get("/v1/workers")).data, often);

export const useKeys = (): Resource<ApiKey[]> =>
  useResource(offers("get", "/v1/keys") ? "keys" : null, () =>
    all((cursor) => get("/v1/keys", { query: { cursor, limit: PAGE } }), MOST_KEYS), seldom);

export const useEvaluations = () =>
  useResource("evaluations", async () => (await get("/v1/evaluations", { query: { limit: 100 } })).data, often);

export const useEvaluation = (id: string): Resource<EvaluationJob> =>
  useResource(`evaluation ${id}`, () =>
    get("/v1/evaluations/{evaluation_id}", { path: { evaluation_id: id }, query: { limit: 1_000 } }), untilFinal);

export const useDeployments = (model: string | null): Resource<Deployment[]> =>
  useResource(model && `deployments ${model}`, () =>
    all((cursor) => get("/v1/deployments", { query: { model: model ?? "", cursor, limit: PAGE } }), MOST_DEPLOYMENTS), often);

export const useDeployment = (id: string): Resource<Deployment> =>
  useResource(`deployment ${id}`, () => get("/v1/deployments/{deployment_id}", { path: { deployment_id: id } }), often);

export const useDeploymentEvents = (id: string): Resource<DeploymentEvent[]> =>
  useResource(`deployment events ${id}`, async () =>
    (await get("/v1/deployments/{deployment_id}/events", { path: { deployment_id: id }, query: { limit: 100 } })).data, often);

async function all<T>(
  page: (cursor: string | undefined) => Promise<{ data: T[]; next_cursor?: string | null }>,
  most: number,
): Promise<T[]> {
  const found: T[] = [];
  let cursor: string | undefined;
  do {
    const answer = await page(cursor);
    found.push(...answer.data);
    cursor = answer.next_cursor ?? undefined;
  } while (cursor !== undefined && found.length < most);
  return found;
}
