"""The paper's figures 3 and 4 and its table 1: what each shows, and with which methods and settings.

"A Unified Framework for Model Editing", Gupta, Sajnani and Anumanchipalli, arXiv 2403.14236 (version 5; EMNLP Findings
2024), on CounterFact with GPT2-XL, GPT-J and Llama-2-7B, every batch on the unedited model:

- table 1: single edits of one layer by ROME and by MEMIT: ES, PS, NS, GE and S;
- figure 3: EMMET and MEMIT over batch sizes up to 10,000, all of it in one layer: ES, PS, NS and S;
- figure 4: the same, with MEMIT's way of spreading a batch over several layers used for both.

Their claim is that EMMET does about as well as MEMIT at every size, so that the equality constraint costs little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from api_schemas.settings import SettingsOverrides
from editing.methods import ALGORITHMS, EditSettings, ModelShape, resolve_settings
from editing.methods.published import GPT2_XL_SHAPE, GPT_J_SHAPE, LLAMA_2_7B, LLAMA_2_7B_SHAPE, authors
from editing.methods.recommended import recommended_layers

PRESETS: Final = {
    GPT2_XL_SHAPE: "authors-gpt2-xl",
    GPT_J_SHAPE: "authors-gpt-j-6b",
    LLAMA_2_7B_SHAPE: "authors-llama-2-7b",
}
OTHERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "rome": {"mu": 0.0},
    "emmet": {"mu": 0.1},
    "memit": {"mu": None, "mu_relative": 1.0},
}
"""μ for a model that the authors did not edit: EMMET's of Llama-2-7B; MEMIT's λ as a multiple of the mean eigenvalue of
KᵀC⁻¹K, since an absolute one does not carry from model to model."""
MOST_LAYERS: Final = 5


@dataclass(frozen=True)
class PaperFigure:
    """`algorithms` are those of the paper; the project's defaults stand beside them in every figure."""

    name: str
    title: str
    shows: str
    algorithms: tuple[str, ...]
    several_layers: bool
    batch_sizes: tuple[int, ...]


@dataclass(frozen=True)
class Method:
    """One series: an algorithm and its settings, by the size of a batch."""

    name: str
    algorithm: str
    settings: EditSettings

    def for_batch(self, size: int) -> EditSettings:
        """The settings for a batch of `size` facts. The authors' EMMET leaves its λ out of a batch of one fact."""
        if size == 1 and self.algorithm == "emmet" and self.name == paper_name("emmet"):
            return self.settings.model_copy(update={"mu": 0.0})
        return self.settings


TABLE_1: Final = PaperFigure(
    "table1",
    "Table 1: single edits, one layer",
    "Each fact edited by itself on the unedited model, in one layer, by ROME and by MEMIT. EMMET stands beside them: "
    "for one fact its solve is ROME's.",
    ("rome", "memit", "emmet"),
    False,
    (1,),
)
FIGURE_3: Final = PaperFigure(
    "figure3",
    "Figure 3: batches in one layer",
    "EMMET and MEMIT over batch sizes, each batch on the unedited model, all of it in one layer.",
    ("emmet", "memit"),
    False,
    (1, 4, 16),
)
FIGURE_4: Final = PaperFigure(
    "figure4",
    "Figure 4: batches spread over several layers",
    "EMMET and MEMIT over batch sizes, each batch on the unedited model, spread over several layers as MEMIT does it.",
    ("emmet", "memit"),
    True,
    (1, 4, 16),
)
FIGURES: Final = {figure.name: figure for figure in (FIGURE_3, FIGURE_4, TABLE_1)}
DEFAULTS: Final = "emmetd's defaults"


def paper_name(algorithm: str) -> str:
    """What a series with the authors' settings is called."""
    return ALGORITHMS[algorithm].title


def methods_of(figure: PaperFigure, shape: ModelShape, *, has_chat_template: bool) -> tuple[Method, ...]:
    """The series of `figure` on a model of `shape`: the paper's with the authors' settings, then our defaults.

    Where the authors published no settings for the model, those of Llama-2-7B at the model's own layers are used, with
    the μ of `OTHERS`. Our defaults are those of an edit by `emmet`, at the same layers.
    """
    layers = _several(shape) if figure.several_layers else (max(recommended_layers(shape)),)
    wanted = [
        (paper_name(algorithm), algorithm, {**_authors(algorithm, shape), "layers": layers})
        for algorithm in figure.algorithms
    ]
    wanted.append((DEFAULTS, "emmet", {"layers": layers}))
    return tuple(
        Method(
            name,
            algorithm,
            resolve_settings(
                ALGORITHMS[algorithm],
                shape,
                SettingsOverrides.model_validate(overrides),
                has_chat_template=has_chat_template,
            ),
        )
        for name, algorithm, overrides in wanted
    )


def has_published_settings(shape: ModelShape) -> bool:
    """Whether the authors edited this model."""
    return shape in PRESETS


def _authors(algorithm: str, shape: ModelShape) -> dict[str, Any]:
    preset = PRESETS.get(shape)
    if preset in ALGORITHMS[algorithm].presets:
        return {"preset": preset}
    return authors(LLAMA_2_7B, **OTHERS[algorithm])


def _several(shape: ModelShape) -> tuple[int, ...]:
    """MEMIT's layers for the model; else the recommended ones; where that is one, it and those before it."""
    published = ALGORITHMS["memit"].per_model.get(shape, {}).get("layers")
    if isinstance(published, tuple):
        return tuple(int(layer) for layer in published)
    recommended = recommended_layers(shape)
    last = max(recommended)
    return recommended if len(recommended) > 1 else tuple(range(max(0, last - MOST_LAYERS + 1), last + 1))
