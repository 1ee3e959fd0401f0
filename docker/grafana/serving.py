"""What clients wait for: completions and every other request."""

from __future__ import annotations

from panels import RED, Query, Row, dashboard, graph, heatmap, quantiles
from queries import ERRORS, MODEL, NOT_PROBES, OF_MODEL, TOKENS
from variables import Json, window_variable


def build() -> Json:
    tokens = f"sum by (model) (rate(emmetd_generation_tokens_total{{{OF_MODEL}}}[$window]))"
    seconds = f"sum by (model) (rate(emmetd_generation_duration_seconds_sum{{{OF_MODEL}}}[$window]))"
    http = "emmetd_http_request_duration_seconds"
    waiting = 'max by (queue) (emmetd_queue_depth{queue=~"generate:$model"})'
    return dashboard(
        "emmetd-serving",
        "emmetd: serving",
        "What clients wait for: completions and every other request.",
        [MODEL, window_variable()],
        [
            Row(
                "Completions",
                [
                    graph(
                        "Time to first token",
                        quantiles("emmetd_generation_time_to_first_token_seconds", selector=OF_MODEL),
                        "From a worker's claim to the first token, over the window",
                        "s",
                    ),
                    heatmap(
                        "Time to first token, spread",
                        "emmetd_generation_time_to_first_token_seconds",
                        "From a worker's claim to the first token",
                        OF_MODEL,
                    ),
                    graph(
                        "Whole completions",
                        quantiles("emmetd_generation_duration_seconds", selector=OF_MODEL),
                        "From a worker's claim to the last token, over the window",
                        "s",
                    ),
                    graph("Throughput", [TOKENS], "Tokens generated a second, by model"),
                    graph(
                        "Time per token",
                        [Query(f"{seconds} / ({tokens} > 0)", "{{model}}")],
                        "Seconds of completion per token generated, over the window",
                        "s",
                    ),
                    graph("Waiting", [Query(waiting, "{{queue}}")], "Completions that no worker has claimed yet"),
                ],
            ),
            Row(
                "Requests",
                [
                    graph(
                        "Rate",
                        [
                            Query(
                                f"sum by (method, route) (rate({http}_count{{{NOT_PROBES}}}[$__rate_interval]))",
                                "{{method}} {{route}}",
                            )
                        ],
                        "By route, without probes and scrapes",
                        "reqps",
                        stacked=True,
                    ),
                    graph(
                        "95th percentile",
                        [
                            Query(
                                "histogram_quantile(0.95, sum by (method, route, le) "
                                f"(rate({http}_bucket{{{NOT_PROBES}}}[$window])))",
                                "{{method}} {{route}}",
                            )
                        ],
                        "By route, over the window; requests that wait for a result are long on purpose",
                        "s",
                    ),
                    graph(
                        "Refusals and errors",
                        [
                            Query(
                                f'sum by (status) (rate({http}_count{{status=~"[45].."}}[$__rate_interval]))',
                                "{{status}}",
                            )
                        ],
                        "Answers with a 4xx or 5xx status",
                        "reqps",
                        stacked=True,
                    ),
                    graph(
                        "Share of server errors",
                        [ERRORS],
                        "5xx of all answers, over five minutes",
                        "percentunit",
                        limits=[(0.05, RED)],
                    ),
                    heatmap("Spread", http, "Durations of all requests, without probes and scrapes", NOT_PROBES),
                ],
            ),
        ],
    )
