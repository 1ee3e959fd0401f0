"""The README.md of an export: what it is, what it was made from, how good it was found, how it is loaded."""

from __future__ import annotations

import json
from typing import Any

from workers.exporting.exported_version import ExportedVersion


def model_card(version: ExportedVersion, library: str, use: str) -> bytes:
    """Markdown with the metadata that model hubs read. It names no fact: texts of facts stay where they were sent."""
    about = version.about
    lines = [
        "---",
        f"library_name: {library}",
        *([f"base_model: {json.dumps(version.base)}"] if "hub_id" in version.model.source else []),
        "pipeline_tag: text-generation",
        "tags: [model-editing, emmetd]",
        "---",
        "",
        f"# {version.name}",
        "",
        f"`{version.base}` with {about['facts_in_force']} corrected facts, written into the MLP projections of layers "
        f"{', '.join(map(str, about['layers_edited']))}. Everything else is the base's, its licence included.",
        "",
        "| | |",
        "|---|---|",
        f"| version | {about['version']} |",
        f"| lineage | {' → '.join(about['lineage'])} |",
        f"| method | {about['algorithm']} |",
        f"| base | {version.base} |",
        f"| base's fingerprint | `{about['base_fingerprint']}` |",
        f"| dtype | {about['dtype']} |",
        *(f"| {name} | {value} |" for name, value in _measured(about["metrics"])),
        "",
        "Measured by emmetd when the version was made, on the facts of its last batch. `emmetd.json` has all of it, "
        "with the settings; `sha256sum -c SHA256SUMS` checks the files.",
        "",
        "## Use",
        "",
        use,
    ]
    return "\n".join(lines).encode()


def _measured(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values with their intervals of what was measured after the edit."""
    found = []
    for name, one in sorted((metrics.get("after") or {}).items()):
        if isinstance(one, dict) and isinstance(one.get("value"), int | float):
            within = f" ({one['low']:.3g} to {one['high']:.3g})" if one.get("low") is not None else ""
            found.append((name, f"{one['value']:.4g}{within}"))
    return found
