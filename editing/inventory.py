"""What a data folder holds already: models, and the statistics of their weights. Reads headers only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open


@dataclass(frozen=True)
class PreparedStatistic:
    """C0 of one layer of the weights `fingerprint`, in `file`."""

    layer: int
    tokens: int
    shrinkage: float
    condition: float
    corpus: str
    fingerprint: str
    file: Path
    bytes: int


@dataclass(frozen=True)
class PreparedModel:
    """A folder that was loaded before: `source` says where it came from, `weights` has the fingerprint by dtype."""

    name: str
    folder: Path
    source: str
    bytes: int
    weights: dict[str, str]


def prepared_models(data: Path) -> list[PreparedModel]:
    """Those fetched into `data` and folders elsewhere that were loaded with it, by name."""
    found: dict[Path, dict[str, str]] = {
        folder.resolve(): {} for folder in (data / "models").glob("[!.]*") if folder.is_dir()
    }
    for memory in sorted((data / "fingerprints").glob("[!.]*.json")):
        kept = _json(memory)
        folder = Path(str(kept.get("folder", "")))
        if kept.get("folder") and folder.is_dir() and isinstance(kept.get("weights"), dict):
            found[folder] = {str(dtype).removeprefix("torch."): str(one) for dtype, one in kept["weights"].items()}
    return sorted((_model(folder, weights) for folder, weights in found.items()), key=lambda model: model.name)


def prepared_statistics(folder: Path) -> list[PreparedStatistic]:
    """Those in `folder`, by layer; what is no statistic of ours is passed over."""
    return sorted(_statistics(folder), key=lambda one: (one.fingerprint, one.layer, one.corpus, one.tokens))


def _statistics(folder: Path) -> Iterator[PreparedStatistic]:
    for file in folder.glob("layer-*.safetensors"):
        try:
            with safe_open(str(file), framework="numpy") as stored:
                about = json.loads((stored.metadata() or {}).get("statistic", "{}"))
            about.pop("format")
            yield PreparedStatistic(**about, file=file, bytes=file.stat().st_size)
        except (SafetensorError, OSError, ValueError, TypeError, KeyError):
            continue


def _model(folder: Path, weights: dict[str, str]) -> PreparedModel:
    source = _json(folder / "source.json")
    told = " ".join(f"{key} {value}" for key, value in source.items() if key != "package_sha256") or str(folder)
    size = sum(file.stat().st_size for file in folder.glob("*") if file.is_file())
    return PreparedModel(folder.name, folder, told, size, weights)


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
