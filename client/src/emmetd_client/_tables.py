"""Tables of versions, edits, evaluations and diffs: one shape for notebooks (HTML) and terminals (text)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emmetd_client.models.downstream import DownstreamResult
    from emmetd_client.models.edits import EditData
    from emmetd_client.models.evaluations import EvaluationData
    from emmetd_client.models.metrics import BatchMetrics, Measurement
    from emmetd_client.models.versions import LineageEntry, Version, VersionDiff


@dataclass(frozen=True)
class Table:
    """Rows of texts under headings; `title` and `notes` stand above and below."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def html(self) -> str:
        """What callers wrote, such as a label, is text in it and nothing else."""
        head = "".join(f"<th>{escape(one)}</th>" for one in self.headings)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self.rows)
        caption = f"<caption>{escape(self.title)}</caption>" if self.title else ""
        notes = "".join(f"<p>{escape(one)}</p>" for one in self.notes)
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"

    @property
    def text(self) -> str:
        """Columns apart by two blanks."""
        lines = [self.headings, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.headings))]
        shown = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        return "\n".join([*([self.title] if self.title else []), *shown, *self.notes])


def versions_table(versions: Iterable[Version], title: str = "") -> Table:
    rows = [
        (
            one.version,
            ", ".join(one.aliases),
            one.parent or "",
            str(one.n_facts),
            "" if one.total_facts is None else str(one.total_facts),
            ", ".join(map(str, one.layers)),
            number(_after(one, "EM")),
            number(_drift(one)),
            amount(one.added_bytes),
            one.created_at.strftime("%Y-%m-%d %H:%M") if one.created_at else "",
            one.label or "",
            ", ".join(one.tags),
        )
        for one in versions
    ]
    headings = (
        "version",
        "aliases",
        "parent",
        "facts",
        "in force",
        "layers",
        "EM",
        "drift",
        "size",
        "created",
        "label",
        "tags",
    )
    return Table(headings, rows, title)


def version_table(version: Version) -> Table:
    """One version: a row a field, then its measurements."""
    size = version.size
    parts = "" if size is None or isinstance(size, int) else f" (delta {amount(size.delta)}, the rest matrices)"
    facts = f"{version.n_facts}" + ("" if version.total_facts is None else f", {version.total_facts} in force")
    rows = [
        ("parent", version.parent or ""),
        ("aliases", ", ".join(version.aliases)),
        ("state", version.state or ""),
        ("edit", version.edit or ""),
        ("algorithm", version.algorithm or ""),
        ("label", version.label or ""),
        ("description", version.description or ""),
        ("tags", ", ".join(version.tags)),
        ("facts", facts),
        ("consolidates", version.consolidates or ""),
        ("layers", ", ".join(map(str, version.layers))),
        ("rank", "" if version.rank is None else str(version.rank)),
        ("size", f"{amount(version.added_bytes)}{parts}"),
        ("sha256", version.sha256 or ""),
        ("created", f"{version.created_at:%Y-%m-%d %H:%M}" if version.created_at else ""),
    ]
    if version.metrics is not None:
        rows.extend(metric_rows(version.metrics))
    return Table(("", version.reference), [row for row in rows if row[1]])


def metric_rows(metrics: BatchMetrics) -> list[tuple[str, str]]:
    """Before and after, metric by metric."""
    found = [
        (name, f"{measured(metrics.before.get(name)) or '–'} → {measured(metrics.after.get(name)) or '–'}")
        for name in dict.fromkeys([*metrics.before, *metrics.after])
    ]
    return [*found, ("drift", measured(metrics.drift))]


def lineage_table(entries: Iterable[LineageEntry], title: str = "") -> Table:
    rows = [
        (
            one.version,
            one.parent or "",
            str(one.n_facts),
            "" if one.facts_in_force is None else str(one.facts_in_force),
            plain(one.drift),
            plain(one.drift_parent),
            plain(one.retained),
            amount(one.added_bytes),
            ", ".join(one.aliases),
        )
        for one in entries
    ]
    headings = ("version", "parent", "facts", "in force", "drift", "drift of parent", "retained", "size", "aliases")
    return Table(headings, rows, title)


def edit_table(edit: EditData) -> Table:
    """Its measurements before and after, and what became of it."""
    title = f"{edit.id}: {edit.state}{f', {edit.reference}' if edit.reference else ''}"
    notes = [f"{edit.error.code}: {edit.error.detail}"] if edit.error else []
    rows: list[tuple[str, str, str, str]] = []
    if edit.metrics is not None:
        groups = [("", edit.metrics.before, edit.metrics.after)]
        if edit.metrics.retained is not None:
            groups.append(("retained ", edit.metrics.retained.before, edit.metrics.retained.after))
        for prefix, before, after in groups:
            for name in dict.fromkeys([*before, *after]):
                counted = after.get(name) or before[name]
                rows.append((f"{prefix}{name}", measured(before.get(name)), measured(after.get(name)), str(counted.n)))
        if edit.metrics.drift is not None:
            rows.append(("drift", "", measured(edit.metrics.drift), str(edit.metrics.drift.n)))
        if edit.metrics.restated:
            notes.append(f"{edit.metrics.restated} subjects of earlier batches, not said any more, were written again")
        notes.extend(f"{warning.code}: {warning.detail}" for warning in edit.metrics.warnings)
    return Table(("metric", "before", "after", "n"), rows, title, notes)


def evaluation_table(evaluation: EvaluationData) -> Table:
    """A row a metric, a column a version."""
    metrics = evaluation.metrics or {}
    names = dict.fromkeys(name for found in metrics.values() for name in found)
    rows = []
    for name in names:
        counts = [str(found[name].n) for found in metrics.values() if name in found]
        rows.append((name, *(measured(found.get(name)) for found in metrics.values()), counts[0]))
    title = f"{evaluation.id}: {evaluation.state}"
    notes = [f"{evaluation.error.code}: {evaluation.error.detail}"] if evaluation.error else []
    return Table(("metric", *metrics, "n"), rows, title, notes)


def downstream_table(results: Sequence[DownstreamResult], title: str = "") -> Table:
    """A row a task and measure, a column a version; with the standard errors."""
    columns = {f"{one.model}@{one.version}": one.results for one in results}
    named = dict.fromkeys((task, name) for of in columns.values() for task, one in of.items() for name in one.measures)
    rows = []
    for task, name in named:
        cells = []
        for of in columns.values():
            found = of[task].measures.get(name) if task in of else None
            error = "" if found is None or found.stderr is None else f" ± {found.stderr:.2g}"
            cells.append("" if found is None else f"{found.value:.4g}{error}")
        counts = [str(of[task].n) for of in columns.values() if task in of and of[task].n is not None]
        rows.append((task, name, *cells, counts[0] if counts else ""))
    harnesses = sorted({f"{one.harness.get('name')} {one.harness.get('version')}" for one in results})
    return Table(("task", "measure", *columns, "n"), rows, title, [f"measured by {', '.join(harnesses)}"])


def diff_table(diff: VersionDiff) -> Table:
    """The facts that came and went; what lies between the weights stands below."""
    rows = [
        (sign, fact.version, str(fact.index), fact.prompt.replace("{}", fact.subject), fact.target_new)
        for sign, side in (("+", diff.facts_added), ("-", diff.facts_taken_out))
        for fact in side.data
    ]
    title = (
        f"{diff.model}: {diff.before} to {diff.after}, +{diff.facts_added.total} -{diff.facts_taken_out.total} facts"
    )
    notes = [
        f"layer {layer.layer}: {layer.difference.norm:.4g} apart"
        f"{f', {layer.difference.relative:.3%} of the base' if layer.difference.relative is not None else ''}"
        for layer in diff.layers
    ]
    return Table(("", "version", "index", "prompt", "answer"), rows, title, notes)


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def measured(found: Measurement | None) -> str:
    if found is None or found.value is None:
        return ""
    interval = f" [{found.low:.3g}, {found.high:.3g}]" if found.low is not None and found.high is not None else ""
    return f"{found.value:.3g}{interval}"


def plain(value: Any) -> str:
    """A number, a measurement or several of them by name, however a server says it."""
    if isinstance(value, dict):
        if "value" in value:
            return plain(value["value"])
        return ", ".join(f"{name} {plain(one)}" for name, one in value.items())
    return "" if value is None else number(value) if isinstance(value, int | float) else str(value)


def amount(size: int | None) -> str:
    if size is None:
        return ""
    shown = float(size)
    for unit in ("B", "KiB", "MiB"):
        if shown < 1024:
            return f"{shown:.3g} {unit}"
        shown /= 1024
    return f"{shown:.3g} GiB"


def _after(version: Version, name: str) -> float | None:
    found = version.metrics.after.get(name) if version.metrics else None
    return found.value if found else None


def _drift(version: Version) -> float | None:
    return version.metrics.drift.value if version.metrics and version.metrics.drift else None
