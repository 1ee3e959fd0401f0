"""What clients wait for: completions and every other request; and whether engines elsewhere serve what they shall."""

from __future__ import annotations

from panels import AMBER, GREEN, RED, Query, Row, dashboard, graph, heatmap, quantiles, stat
from queries import ERRORS, MODEL, NOT_PROBES, OF_MODEL, TOKENS
from variables import Json, window_variable


def build() -> Json:
    tokens = f"sum by (model) (rate(emmetd_generation_tokens_total{{{OF_MODEL}}}[$window]))"
    seconds = f"sum by (model) (rate(emmetd_generation_duration_seconds_sum{{{OF_MODEL}}}[$window]))"
    http = "emmetd_http_request_duration_seconds"
    deployed = "{{model}}@{{follows}} at {{target}}"
    out_of_step = f"count(max by (model, follows, target, name) (emmetd_deployment_in_step{{{OF_MODEL}}}) == 0)"
    waiting = 'max by (queue) (emmetd_queue_depth{queue=~"generate:$model"})'
    return dashboard(
        "emmetd-serving",
        "emmetd: serving",
        "What clients wait for, and whether engines elsewhere serve what they shall.",
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
            Row(
                "Engines elsewhere",
                [
                    stat(
                        "Out of step",
                        Query(f"{out_of_step} or vector(0)", "deployments"),
                        "Deployments that do not serve the version that they shall",
                        steps=((None, GREEN), (1, RED)),
                    ),
                    graph(
                        "Lag",
                        [Query(f"deployment:emmetd_deployment_lag_seconds:max{{{OF_MODEL}}}", deployed)],
                        "For how long an engine has not served what it shall; 0 while it does",
                        "s",
                        width=10,
                        limits=[(900, AMBER)],
                    ),
                    graph(
                        "Answers that agree",
                        [
                            Query(
                                f"deployment:emmetd_deployment_check_ratio:max{{{OF_MODEL}}}", f"{deployed}, {{{{of}}}}"
                            )
                        ],
                        "Of the newest check of each: facts said there, and ordinary prompts answered as here",
                        "percentunit",
                        width=10,
                        top=1,
                        limits=[(0.9, AMBER)],
                    ),
                ],
            ),
        ],
    )
