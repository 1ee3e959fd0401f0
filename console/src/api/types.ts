/** The API's own words, from docs/openapi.json: a field that changes there breaks the build here. */

import type { components } from "./schema";

type Schemas = components["schemas"];

export type Algorithm = Schemas["AlgorithmInfo"];
export type AliasInfo = Schemas["AliasInfo"];
export type AuditEntry = Schemas["AuditEntry"];
export type BatchMetrics = Schemas["BatchMetrics"];
export type ChatChunk = Schemas["ChatCompletionChunk"];
export type Completion = Schemas["Completion"];
export type CompletionChunk = Schemas["CompletionChunk"];
export type EditEvent = Schemas["EditEvent"];
export type EditFact = Schemas["EditFact"];
export type EditJob = Schemas["EditJob"];
export type EditProgress = Schemas["EditProgress"];
export type EditRequest = Schemas["EditRequest"];
export type EvaluationJob = Schemas["EvaluationJob"];
export type EvaluationRequest = Schemas["EvaluationRequest"];
export type EvaluationSummary = Schemas["EvaluationSummary"];
export type Fact = Schemas["Fact"];
export type Measurement = Schemas["Measurement"];
export type ModelCard = Schemas["ModelCard"];
export type ProblemDetails = Schemas["Problem"];
export type Setting = Schemas["SettingInfo"];
export type VersionDiff = Schemas["VersionDiff"];
export type VersionFact = Schemas["VersionFact"];
export type Version = Schemas["VersionInfo"] | Schemas["VersionDetail"];

export type Measurements = Record<string, Measurement>;
export type EditState = EditJob["state"];

export const FINAL_STATES: readonly string[] = ["succeeded", "rejected", "failed", "cancelled"];

/** With its 95% interval, where the server measures one. */
export interface MeasurementWithInterval extends Measurement {
  low?: number | null;
  high?: number | null;
}

/** A point of `GET /v1/models/{model}/lineage`: asked for only where the server's document has that path. */
export interface LineagePoint {
  version: string;
  parent: string | null;
  facts: number;
  facts_in_force?: number | null;
  drift?: Measurement | number | null;
  drift_parent?: Measurement | number | null;
  retained?: Measurements | Measurement | number | null;
  relative_norms?: Record<string, number> | number[] | null;
  bytes?: number | { delta?: number; matrices?: number } | null;
  created_at: string;
  aliases?: string[];
}

/** What the server adds to a version that was made by consolidating another. */
export interface Consolidated {
  consolidates?: string | null;
}

export interface LineagePage {
  data: LineagePoint[];
  next_cursor: string | null;
}
