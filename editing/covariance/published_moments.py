"""C0 from second moments that others published, instead of days of reading text: checked before it is used.

ROME's and MEMIT's authors keep Σ k kᵀ of a layer's keys over Wikipedia as `.npz` files, one a layer, such as
`transformer.h.17.mlp.c_proj_float32_mom2_100000.npz` (https://github.com/kmeng01/rome, util/runningstats.py). A
`.safetensors` file of the same name and arrays serves as well. Nothing in such a file says of which model it is: it is
held against keys of the model's own: each inner unit of an MLP has its own mean square, so that the logarithms of
the two diagonals go together for the right layer of the right model, and for no other (SmolLM2-135M, 2,048 tokens: .37
to .89 for five layers on other text and on the same, at most .06 in size between layers).
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from editing.covariance.accumulation import key_moments
from editing.covariance.corpus import SelfSampled, held_out_sequences
from editing.errors import CorpusError, StatisticError
from editing.model.loading import LoadedModel
from editing.model.token_sequences import TokenSequences
from editing.progress import ShouldStop, never

SUFFIXES: Final = (".npz", ".safetensors")
MOMENT_NAMES: Final = ("mom2.mom2", "mom2")
COUNT_NAMES: Final = ("mom2.count", "count")
CHECKED_TOKENS: Final = 2048
LEAST_CORRELATION: Final = 0.25
"""Of the logarithms of the diagonals. Chance gives about 1/√d_in."""
MOST_SCALE: Final = 4.0
"""How many times the mean square of a key may be that of the model's own keys, or they its."""
_ENDS: Final = 1 << 16


@dataclass(frozen=True)
class PublishedMoments:
    """The files of `folder`, one a layer, as a corpus: C0 is read from them. Drift is measured on text of the model's
    own (`text`), since the text that they were made from is not there."""

    folder: Path
    text: SelfSampled = field(default_factory=SelfSampled)

    @property
    def name(self) -> str:
        """With a digest of the files' names, sizes and ends: gigabytes are not read for it."""
        digest = hashlib.sha256()
        for file in self.files():
            size = file.stat().st_size
            digest.update(f"{file.name}\n{size}\n".encode())
            with file.open("rb") as opened:
                digest.update(opened.read(_ENDS))
                opened.seek(max(0, size - _ENDS))
                digest.update(opened.read(_ENDS))
        return f"published moments {digest.hexdigest()[:16]}"

    def sequences(
        self, model: LoadedModel, tokens: int, held_out: bool, should_stop: ShouldStop
    ) -> Iterator[Sequence[int]]:
        """Raises CorpusError for other text than the held-out."""
        if not held_out:
            raise CorpusError(f"{self.folder} holds second moments, and no text to sum up")
        return self.text.sequences(model, tokens, held_out, should_stop)

    def files(self) -> list[Path]:
        """Raises CorpusError where the folder holds no such file."""
        found = sorted(file for file in self.folder.glob("*") if file.suffix in SUFFIXES and file.is_file())
        if not found:
            raise CorpusError(f"{self.folder} holds no second moments ({' or '.join(SUFFIXES)}), one file a layer")
        return found

    def moment(self, model: LoadedModel, layer: int) -> tuple[Tensor, int]:
        """Σ k kᵀ / n (d_in, d_in), float64, of `layer`, and n. Raises StatisticError naming the file."""
        architecture = model.decoder.architecture
        path = f"{architecture.layers}.{layer}.{architecture.projection}"
        fitting = [file for file in self.files() if file.stem == path or file.name.startswith(f"{path}_")]
        if not fitting:
            known = ", ".join(file.name for file in self.files()[:3])
            raise StatisticError(f"{self.folder} has no file {path}_*.npz for layer {layer}; it has {known}, …")
        if len(fitting) > 1:
            raise StatisticError(
                f"{self.folder} has several files for layer {layer}: {fitting[0].name}, {fitting[1].name}"
            )
        return _read(fitting[0], model.decoder.projections[layer].d_in, model.decoder.device)


def check_against_model(
    model: LoadedModel, moments: Mapping[int, Tensor], folder: Path, should_stop: ShouldStop = never
) -> None:
    """Hold `moments` (d_in, d_in) by layer against keys of the model's own text, which `folder` keeps.

    Raises StatisticError where they are those of another layer or model, or of keys of another size.
    """
    text = held_out_sequences(SelfSampled(), model, folder, should_stop=should_stop)
    rows = _first(text, CHECKED_TOKENS)
    own = key_moments(model.decoder, sorted(moments), rows, should_stop=should_stop)
    for layer, moment in moments.items():
        theirs, ours = moment.diagonal(), own.moment(layer).diagonal()
        active = (theirs > 0) & (ours > 0)
        if int(active.sum()) < 2:
            raise StatisticError(f"the second moment given for layer {layer} is of keys that are never active here")
        scale = float(theirs.sum() / ours.sum())
        correlation = float(torch.corrcoef(torch.stack([theirs[active].log(), ours[active].log()]))[0, 1])
        if not correlation >= LEAST_CORRELATION:
            raise StatisticError(
                f"the second moment given for layer {layer} is not that of this model's layer {layer}: its units' mean "
                f"squares go with those of {rows.tokens} tokens of the model's own by a correlation of "
                f"{correlation:.2f} (at least {LEAST_CORRELATION} is asked for); is it of another model or layer?"
            )
        if not 1 / MOST_SCALE <= scale <= MOST_SCALE:
            raise StatisticError(
                f"the second moment given for layer {layer} is {scale:.3g} times the model's own (1/{MOST_SCALE:g} to "
                f"{MOST_SCALE:g} is taken): is it a sum without its count, or of other units?"
            )


def _first(text: TokenSequences, tokens: int) -> TokenSequences:
    rows, found = [], 0
    for sequence in text.sequences():
        rows.append(sequence.tolist())
        found += len(rows[-1])
        if found >= tokens:
            break
    return TokenSequences.of(rows)


def _read(file: Path, d_in: int, device: torch.device) -> tuple[Tensor, int]:
    largest = d_in * d_in * 8 + (1 << 20)
    if file.stat().st_size > largest:
        raise StatisticError(
            f"{file} has {file.stat().st_size:,} bytes; a second moment of width {d_in} has {largest:,}"
        )
    try:
        total, count = _npz(file, largest) if file.suffix == ".npz" else _safetensors(file)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, SafetensorError) as error:
        raise StatisticError(
            f"{file} cannot be read ({error}); it needs an array {' or '.join(MOMENT_NAMES)} and a number "
            f"{' or '.join(COUNT_NAMES)}"
        ) from error
    if total.shape != (d_in, d_in):
        raise StatisticError(f"{file} holds a matrix of {tuple(total.shape)}; the layer's is ({d_in}, {d_in})")
    if count < 1:
        raise StatisticError(f"{file} counts {count} keys; at least 1 is needed")
    moment = total.to(device=device, dtype=torch.float64) / count
    if not bool(torch.isfinite(moment).all()):
        raise StatisticError(f"{file} holds numbers that are not finite")
    if float((moment - moment.T).abs().max()) > 1e-3 * float(moment.diagonal().abs().max()):
        raise StatisticError(f"{file} holds a matrix that is not symmetric, so no second moment")
    return (moment + moment.T) / 2, count


def _npz(file: Path, largest: int) -> tuple[Tensor, int]:
    """Never unpickles: an archive that would need it is refused by numpy (ValueError)."""
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > largest:
            raise ValueError(f"it unpacks to {unpacked:,} bytes, more than {largest:,}")
    with np.load(file, allow_pickle=False) as arrays:
        moment, count = _one_of(arrays.files, MOMENT_NAMES), _one_of(arrays.files, COUNT_NAMES)
        return torch.from_numpy(np.asarray(arrays[moment])), int(np.asarray(arrays[count]).item())


def _safetensors(file: Path) -> tuple[Tensor, int]:
    with safe_open(str(file), framework="pt") as arrays:
        names = list(arrays.keys())
        moment, count = _one_of(names, MOMENT_NAMES), _one_of(names, COUNT_NAMES)
        return arrays.get_tensor(moment), int(arrays.get_tensor(count).item())


def _one_of(names: Sequence[str], wanted: Sequence[str]) -> str:
    for name in wanted:
        if name in names:
            return name
    raise KeyError(f"there is no {' or '.join(wanted)} among {', '.join(names[:5])}")
