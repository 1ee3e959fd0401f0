"""What the processes use, and how much is kept."""

from __future__ import annotations

from panels import AMBER, RED, Query, Row, dashboard, graph, table
from queries import MODEL, OF_MODEL, READY, RUNNING
from variables import Json


def build() -> Json:
    worker = 'job=~"emmetd-worker"'
    return dashboard(
        "emmetd-machines",
        "emmetd: workers and store",
        "What the processes use, and how much is kept.",
        [MODEL],
        [
            Row(
                "Workers",
                [
                    graph("Ready", [READY], "Workers that have loaded their model, by model", width=8),
                    graph(
                        "Answering",
                        [Query('sum by (job) (up{job=~"emmetd-.+"})', "{{job}}")],
                        "Targets that Prometheus could read",
                        width=8,
                    ),
                    graph(
                        "Restarts",
                        [Query(f"changes(process_start_time_seconds{{{worker}}}[1h])", "{{instance}}")],
                        "Of each worker, in the hour before",
                        width=8,
                    ),
                    graph(
                        "Memory",
                        [Query(f"emmetd_worker_memory_bytes{{{OF_MODEL}}}", "{{instance}} {{model}}")],
                        "Resident memory of each worker",
                        "bytes",
                        width=8,
                    ),
                    graph(
                        "Matrices held",
                        [Query(f"emmetd_worker_matrix_cache_bytes{{{OF_MODEL}}}", "{{instance}} {{model}}")],
                        "Edited matrices that each worker keeps to serve versions",
                        "bytes",
                        width=8,
                    ),
                    graph(
                        "Cores used",
                        [Query(f"rate(process_cpu_seconds_total{{{worker}}}[$__rate_interval])", "{{instance}}")],
                        "CPU seconds a second, of each worker",
                        width=8,
                    ),
                    graph("Tasks running", [RUNNING], "What workers do now, by kind", width=24, stacked=True),
                ],
            ),
            Row(
                "Store",
                [
                    graph(
                        "Kept",
                        [Query(f"max by (model) (emmetd_store_bytes{{{OF_MODEL}}})", "{{model}}")],
                        "Deltas and matrices of all versions, by model",
                        "bytes",
                        width=8,
                        stacked=True,
                    ),
                    graph(
                        "Free",
                        [Query("min(emmetd_store_free_bytes)", "free")],
                        "What may still be written where the blobs lie; a full disk refuses new edits",
                        "bytes",
                        width=8,
                        limits=[(2e9, RED)],
                    ),
                    graph(
                        "Growth",
                        [Query("emmetd:emmetd_store_bytes:growth_per_day", "all models")],
                        "A day, by the course of the last six hours",
                        "bytes",
                        width=8,
                        limits=[(20e9, AMBER)],
                    ),
                    graph(
                        "Webhooks",
                        [
                            Query(
                                "sum by (outcome) (rate(emmetd_webhook_attempts_total[$__rate_interval]))",
                                "{{outcome}}",
                            )
                        ],
                        "Attempts to deliver a webhook, by what came of them",
                        "ops",
                        width=12,
                    ),
                    graph(
                        "Webhooks in trouble",
                        [
                            Query('max by (state) (emmetd_webhooks{state!="active"})', "{{state}}"),
                            Query("max(emmetd_webhook_deliveries_waiting)", "deliveries that wait"),
                        ],
                        "Receivers that fail or are paused, and what is still to be delivered",
                        width=12,
                    ),
                    table(
                        "Aliases",
                        Query(
                            f"max by (model, alias, version) (emmetd_model_version_info{{{OF_MODEL}}})", instant=True
                        ),
                        "The version that each alias points at now",
                        {"model": "Model", "alias": "Alias", "version": "Version"},
                        width=24,
                    ),
                ],
            ),
        ],
    )
