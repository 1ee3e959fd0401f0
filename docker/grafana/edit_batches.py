"""How long edit batches take and why, what waits, and what became of the model."""

from __future__ import annotations

from panels import AMBER, Query, Row, dashboard, graph, heatmap, quantiles, table
from queries import AGE, DEPTH, ENDED, FACTS, MODEL, OF_MODEL, STAGE
from variables import Json, window_variable


def build() -> Json:
    stages = f'{OF_MODEL}, stage=~"$stage"'
    versions = "max by (model, alias, version, metric) (emmetd_version_metric_ratio{%s})"
    scores = versions % f'{OF_MODEL}, metric=~"ES|EM|PS|NS"'
    drift = f'{OF_MODEL}, metric=~"drift|drift_parent"'
    retained = f'{OF_MODEL}, metric=~"retained_EM|retained_GA"'
    return dashboard(
        "emmetd-editing",
        "emmetd: editing",
        "How long edit batches take and why, what waits, and what became of the model.",
        [MODEL, STAGE, window_variable()],
        [
            Row(
                "How long each stage takes",
                [
                    graph(
                        "Stages",
                        quantiles("emmetd_edit_stage_duration_seconds", "stage", stages),
                        "Percentiles of each stage's duration, over the window",
                        "s",
                    ),
                    heatmap(
                        "Stages, spread",
                        "emmetd_edit_stage_duration_seconds",
                        "All durations of the chosen stages",
                        stages,
                    ),
                    graph(
                        "Before planning",
                        quantiles("emmetd_edit_queue_wait_seconds", selector=OF_MODEL),
                        "From acceptance to the start of planning, over the window",
                        "s",
                    ),
                    heatmap(
                        "Batches, spread",
                        "emmetd_edit_batch_duration_seconds",
                        "From acceptance to the final state",
                        OF_MODEL,
                    ),
                ],
            ),
            Row(
                "What waits",
                [
                    graph("Depth", [DEPTH], "Pieces of work that wait, by queue"),
                    graph("Age of the oldest", [AGE], "How long the oldest of each queue has waited", "s"),
                ],
            ),
            Row(
                "What gets done",
                [
                    graph("Facts per second", [FACTS], "Facts of published versions, over the window", width=8),
                    graph("Batches that ended", [ENDED], "By final state, over the window", width=8, stacked=True),
                    graph(
                        "Optimiser steps",
                        [Query(f"sum by (model) (rate(emmetd_value_steps_total{{{OF_MODEL}}}[$window]))", "{{model}}")],
                        "Steps times subjects a second, over the window",
                        width=8,
                    ),
                ],
            ),
            Row(
                "Published versions",
                [
                    graph(
                        "Efficacy",
                        [Query(scores, "{{metric}} {{model}}@{{alias}} {{version}}")],
                        "Measured before publishing, of the version that each alias points at: "
                        "ES efficacy, EM exact match, PS paraphrases, NS neighbourhood",
                        "percentunit",
                        top=1,
                    ),
                    graph(
                        "Drift",
                        [Query(versions % drift, "{{metric}} {{model}}@{{alias}} {{version}}")],
                        "How much worse ordinary text is predicted than by the base, and than by the parent: "
                        "1 is not at all",
                        limits=[(1.25, AMBER)],
                    ),
                    graph(
                        "Earlier facts",
                        [Query(versions % retained, "{{metric}} {{model}}@{{alias}} {{version}}")],
                        "A sample of the facts corrected before, measured when the version that each alias points at "
                        "was made: what a line that wears loses first",
                        "percentunit",
                        limits=[(0.9, AMBER)],
                        top=1,
                    ),
                    graph(
                        "Preservation cost",
                        [
                            Query(
                                f"max by (model) (emmetd_preservation_cost_ratio{{{OF_MODEL}}})",
                                "{{model}}",
                            )
                        ],
                        "How much the most changed layer disturbs what it should keep: "
                        "tr(ΔCΔᵀ) relative to tr(WCWᵀ), of the newest version",
                    ),
                    table(
                        "Now",
                        Query(versions % OF_MODEL, instant=True),
                        "All measurements of the versions that aliases point at",
                        {
                            "model": "Model",
                            "alias": "Alias",
                            "version": "Version",
                            "metric": "Metric",
                            "Value": "Value",
                        },
                    ),
                ],
            ),
        ],
    )
