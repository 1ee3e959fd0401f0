"""The page of one evaluation: self-contained, to be kept, printed or sent to somebody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from sqlalchemy.orm import Session

from api_schemas.evaluations import EvaluationSummary
from editing.metrics import METRICS
from service.evaluations.report.charts import bars, is_share, spread, written
from service.evaluations.report.style import STYLE
from service.evaluations.report.worst import shown_fact, worst
from store.work import evaluations

MOST_FACTS: Final = 30

Values = Sequence[Mapping[str, Mapping[str, float | None]]]


def page(session: Session, job: EvaluationSummary) -> str:
    """As far as it has been measured. All that callers sent is text in it and nothing else."""
    values = evaluations.values(session, job.id)
    numbers = worst(values, job.model, MOST_FACTS)
    kept = evaluations.kept(session, job.id, numbers)
    parts = [_head(job, len(values)), _charts(job, values), _table(job)]
    if kept:
        facts = "".join(shown_fact(one, job.versions) for one in kept)
        parts.append(f"<h2>The worst facts of {escape(job.model)}, and what is said of them</h2><ol>{facts}</ol>")
    elif values:
        parts.append(f"<p>{escape(job.model)} misses no fact.</p>")
    title = escape(f"{job.model} measured")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def _head(job: EvaluationSummary, measured: int) -> str:
    beside = [version for version in job.versions if version != job.model]
    about = [f"{job.n_facts:,} facts" if job.n_facts != 1 else "1 fact"]
    if job.facts_of is not None:
        drawn = "" if job.sample is None else f", a sample drawn with seed {job.seed}"
        about[0] += f" of {job.facts_of}{drawn}"
    about.append(f"asked {job.created_at:%Y-%m-%d %H:%M} UTC")
    if job.finished_at is not None:
        about.append(f"ended {job.finished_at:%Y-%m-%d %H:%M} UTC")
    else:
        about.append(f"{job.state}, {measured:,} facts measured so far")
    said = [f"<h1>{escape(job.model)} measured</h1>"]
    if beside:
        said.append(f"<p>Beside {escape(', '.join(beside))}.</p>")
    said.append(f"<p>{escape('; '.join(about))}. Evaluation {escape(job.id)}.</p>")
    if job.error is not None:
        said.append(f'<p class="bad">{escape(job.error.title)}: {escape(job.error.detail)}</p>')
    if job.judge is not None:
        verdicts = (job.judge.versions or {}).items()
        shares = [f"{version}: {written(one)}, {one.unjudged:,} unjudged" for version, one in verdicts]
        said.append(f"<p>Judged by {escape(job.judge.model)}. {escape('; '.join(shares))}</p>")
    said += [f'<p class="bad">{escape(warning.detail)}</p>' for warning in job.warnings]
    return "".join(said)


def _charts(job: EvaluationSummary, values: Values) -> str:
    drawn = []
    if job.metrics:
        for name in job.requested_metrics:
            of = {version: job.metrics[version][name] for version in job.versions if name in job.metrics[version]}
            if any(one.value is not None for one in of.values()):
                drawn.append(bars(name, of))
    spreads = [spread(name, job.versions, values) for name in job.requested_metrics if is_share(name)]
    found = "".join(drawn)
    text = f'<h2>Measurements, with 95% intervals</h2><div class="charts">{found}</div>' if found else ""
    if any(spreads):
        text += (
            "<h2>How facts are spread</h2><p>Left: facts at 0; middle: between; right, and the number: facts at 1.</p>"
            f'<div class="charts">{"".join(spreads)}</div>'
        )
    return text


def _table(job: EvaluationSummary) -> str:
    if not job.metrics:
        return ""
    head = "".join(f'<th class="number">{escape(version)}</th>' for version in job.versions)
    rows = []
    for name in job.requested_metrics:
        cells = []
        for version in job.versions:
            one = job.metrics[version].get(name)
            cells.append(f'<td class="number">{"–" if one is None else escape(written(one))}</td>')
        rows.append(f"<tr><th>{escape(name)}</th>{''.join(cells)}<td>{escape(METRICS[name].summary)}</td></tr>")
    return (
        f'<h2>Table</h2><div class="wide"><table><thead><tr><th>metric</th>{head}<th>what it is</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
