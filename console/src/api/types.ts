/** The API's own words, from docs/openapi.json: a field that changes there breaks the build here. */

import type { components } from "./schema";

type Schemas = components["schemas"];

export type Algorithm = Schemas["AlgorithmInfo"];
export type AliasInfo = Schemas["AliasInfo"];
export type AliasRequest = Schemas["AliasRequest"];
export type AuditEntry = Schemas["AuditEntry"];
export type BatchMetrics = Schemas["BatchMetrics"];
export type ChatChunk = Schemas["ChatCompletionChunk"];
export type Completion = Schemas["Completion"];
export type CompletionChunk = Schemas["CompletionChunk"];
export type Deployment = Schemas["Deployment"];
export type DeploymentCheck = Schemas["DeploymentCheck"];
export type DeploymentEvent = Schemas["DeploymentEvent"];
export type DeploymentFormat = Deployment["format"];
export type EditEvent = Schemas["EditEvent"];
export type EditFact = Schemas["EditFact"];
export type EditJob = Schemas["EditJob"];
export type EditProgress = Schemas["EditProgress"];
export type EditRequest = Schemas["EditRequest"];
export type EvaluationJob = Schemas["EvaluationJob"];
export type EvaluationRequest = Schemas["EvaluationRequest"];
export type ApiKey = Schemas["KeyInfo"];
export type CallerInfo = Schemas["CallerInfo"];
export type EvaluationSummary = Schemas["EvaluationSummary"];
export type Fact = Schemas["Fact"];
export type JudgeReport = Schemas["JudgeReport"];
export type LeftOutFact = Schemas["LeftOutFact"];
export type LineageEntry = Schemas["LineageEntry"];
export type Measurement = Schemas["Measurement"];
export type ModelCard = Schemas["ModelCard"];
export type ProblemDetails = Schemas["Problem"];
export type Setting = Schemas["SettingInfo"];
export type VersionDiff = Schemas["VersionDiff"];
export type VersionFact = Schemas["VersionFact"];
export type Scope = CallerInfo["scopes"][number];
export type Worker = Schemas["WorkerInfo"];
export type Version = Schemas["VersionInfo"] | Schemas["VersionDetail"];

export type Measurements = Record<string, Measurement>;
export type EditState = EditJob["state"];

export const FINAL_STATES: readonly string[] = ["succeeded", "rejected", "failed", "cancelled"];
