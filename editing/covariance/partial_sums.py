"""Checkpoints of a build of C0: the sums so far, on disk until its layers are complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from editing.atomic_files import whole_file
from editing.covariance.accumulation import MomentSums


@dataclass(frozen=True)
class SavedSums:
    """Sums over the text `key` in `folder`, a file for the layers that were built together. One process at a time."""

    folder: Path
    key: str

    @property
    def lock(self) -> Path:
        return self.folder / f"sums-{self.key}"

    def read(self, layers: Sequence[int], device: torch.device) -> MomentSums | None:
        """Those of `layers` that went furthest, whichever other layers were built with them."""
        best: MomentSums | None = None
        for file, known in self._files():
            if not known.issuperset(layers):
                continue
            try:
                with safe_open(str(file), framework="pt", device=str(device)) as stored:
                    about = stored.metadata()
                    if best is None or int(about["batches"]) > best.batches:
                        sums = {layer: stored.get_tensor(str(layer)).clone() for layer in layers}
                        best = MomentSums(sums, tokens=int(about["tokens"]), batches=int(about["batches"]))
            except (SafetensorError, OSError):
                continue
        return best

    def write(self, sums: MomentSums) -> None:
        """Keep `sums` in place of earlier ones of the same layers."""
        layers = "_".join(map(str, sorted(sums.sums)))
        with whole_file(self.folder / f"sums-{self.key}-{layers}.safetensors") as part:
            save_file(
                {str(layer): value.cpu().contiguous() for layer, value in sums.sums.items()},
                part,
                metadata={"tokens": str(sums.tokens), "batches": str(sums.batches)},
            )

    def forget(self, is_built: Callable[[int], bool]) -> None:
        """Remove the sums of which every layer is built."""
        for file, known in list(self._files()):
            if all(is_built(layer) for layer in known):
                file.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[Path, set[int]]]:
        for file in self.folder.glob(f"sums-{self.key}-*.safetensors"):
            yield file, {int(layer) for layer in file.stem.rpartition("-")[2].split("_")}
