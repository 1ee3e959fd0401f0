"""Is it up, does work go on, and do clients get answers?"""

from __future__ import annotations

from panels import AMBER, GREEN, RED, Query, Row, dashboard, graph, quantiles, stat
from queries import AGE, DEPTH, ENDED, ERRORS, FACTS, MODEL, NOT_PROBES, OF_MODEL, TOKENS
from variables import Json, window_variable


def build() -> Json:
    probe = Query('min(probe_success{job="emmetd-readyz"})', "ready")
    alerts = Query('count(ALERTS{alertname=~"Emmetd.+", alertstate="firing"}) or vector(0)', "alerts")
    workers = Query(f"sum(max by (model) (emmetd_worker_up{{{OF_MODEL}}}))", "workers")
    oldest = Query("max(emmetd_queue_oldest_age_seconds) or vector(0)", "oldest")
    down_up = ((None, RED), (1, GREEN))
    return dashboard(
        "emmetd-overview",
        "emmetd: overview",
        "Is it up, does work go on, and do clients get answers?",
        [MODEL, window_variable()],
        [
            Row(
                "Now",
                [
                    stat(
                        "Ready",
                        probe,
                        "Whether /readyz answers 200, asked from outside",
                        steps=down_up,
                        words={"0": "no", "1": "yes"},
                    ),
                    stat("Workers ready", workers, "Of all chosen models", steps=down_up),
                    stat("Alerts firing", alerts, "Of this project's rules", steps=((None, GREEN), (1, RED))),
                    stat(
                        "Oldest waiting",
                        oldest,
                        "How long the oldest piece of work has waited",
                        "s",
                        steps=((None, GREEN), (600, AMBER), (3600, RED)),
                    ),
                    stat("Facts per second", Query(f"sum({FACTS.expr})", "facts"), "Published, over the window"),
                    stat(
                        "Server errors",
                        ERRORS,
                        "Share of requests that end with a 5xx status, over five minutes",
                        "percentunit",
                        steps=((None, GREEN), (0.01, AMBER), (0.05, RED)),
                    ),
                ],
            ),
            Row(
                "Work",
                [
                    graph("Waiting", [DEPTH], "Pieces of work that wait, by queue"),
                    graph("Age of the oldest", [AGE], "How long the oldest of each queue has waited", "s"),
                    graph("Batches that ended", [ENDED], "By final state, over the window", stacked=True),
                    graph(
                        "Batches from acceptance to end",
                        quantiles("emmetd_edit_batch_duration_seconds", selector=OF_MODEL),
                        "Waiting included, over the window",
                        "s",
                    ),
                ],
            ),
            Row(
                "Clients",
                [
                    graph(
                        "Requests",
                        [
                            Query(
                                "sum by (status) (rate(emmetd_http_request_duration_seconds_count"
                                f"{{{NOT_PROBES}}}[$__rate_interval]))",
                                "{{status}}",
                            )
                        ],
                        "By status, without probes and scrapes",
                        "reqps",
                        stacked=True,
                    ),
                    graph("Tokens", [TOKENS], "Generated a second, by model", "short"),
                ],
            ),
        ],
    )
