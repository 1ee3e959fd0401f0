"""Prometheus metrics of a worker. Base units, no ids as labels."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

EDIT_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1200, 1800)
GENERATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

EDIT_STAGE_SECONDS = Histogram(
    "emmetd_edit_stage_duration_seconds",
    "Time that a stage of an edit batch took on this worker.",
    ["model", "algorithm", "stage"],
    buckets=EDIT_BUCKETS,
    registry=REGISTRY,
)
EDIT_BATCH_SECONDS = Histogram(
    "emmetd_edit_batch_duration_seconds",
    "Time from acceptance of an edit batch to its final state, of those that a worker ended.",
    ["model", "algorithm"],
    buckets=EDIT_BUCKETS,
    registry=REGISTRY,
)
EDIT_QUEUE_WAIT_SECONDS = Histogram(
    "emmetd_edit_queue_wait_seconds",
    "Time from acceptance of an edit batch to the start of its planning.",
    ["model"],
    buckets=EDIT_BUCKETS,
    registry=REGISTRY,
)
FACTS_EDITED = Counter("emmetd_facts_edited", "Facts of published versions.", ["model"], registry=REGISTRY)
VALUE_STEPS = Counter("emmetd_value_steps", "Optimiser steps times subjects.", ["model"], registry=REGISTRY)
EDIT_EFFICACY = Gauge(
    "emmetd_edit_efficacy_ratio", "ES of the newest published version's own facts.", ["model"], registry=REGISTRY
)
PRESERVATION_COST = Gauge(
    "emmetd_preservation_cost_ratio",
    "tr(ΔCΔᵀ) relative to tr(WCWᵀ) of the newest published version's most changed layer.",
    ["model"],
    registry=REGISTRY,
)
TIME_TO_FIRST_TOKEN = Histogram(
    "emmetd_generation_time_to_first_token_seconds",
    "Time from claiming a request to its first token.",
    ["model"],
    buckets=GENERATION_BUCKETS,
    registry=REGISTRY,
)
GENERATION_SECONDS = Histogram(
    "emmetd_generation_duration_seconds",
    "Time from claiming a request to its last token.",
    ["model"],
    buckets=GENERATION_BUCKETS,
    registry=REGISTRY,
)
GENERATED_TOKENS = Counter("emmetd_generation_tokens", "Tokens generated.", ["model"], registry=REGISTRY)
WORKER_MEMORY = Gauge("emmetd_worker_memory_bytes", "Resident memory of this worker.", ["model"], registry=REGISTRY)
MATRIX_CACHE_BYTES = Gauge(
    "emmetd_worker_matrix_cache_bytes", "Edited matrices held for serving versions.", ["model"], registry=REGISTRY
)
