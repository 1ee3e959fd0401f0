"""What a worker does ahead of its first edit, once it is ready: the later ones find it done by those before them."""

from __future__ import annotations

from typing import Final

from api_schemas.references import parse_reference
from api_schemas.settings import SettingsOverrides
from editing.methods import ALGORITHMS, resolve_settings
from editing.values.chat_forms import chat_forms
from store.lineage import versions as lineage
from workers.context import WorkerContext
from workers.weights.layer_weights import matrix_of

_ALGORITHM: Final = "emmet"
"""What an edit takes that names none."""


def prepare_first_edit(context: WorkerContext) -> None:
    """Ask for it: of the base what checks compare with, and of the newest version what an edit with default settings
    is planned and reported with."""
    context.ahead.add("held-out text", lambda: context.measuring.held_out().begin())
    context.ahead.add("context texts", lambda: _sample_context_texts(context))
    context.ahead.add("ordinary outputs", lambda: _measure_outputs(context))


def _sample_context_texts(context: WorkerContext) -> None:
    settings = resolve_settings(
        ALGORITHMS[_ALGORITHM],
        context.model.shape,
        SettingsOverrides(),
        has_chat_template=bool(chat_forms(context.model.tokenizer)),
    )
    context.context_texts.of(_newest(context), settings)


def _measure_outputs(context: WorkerContext) -> None:
    decoder, matrices = context.model.decoder, context.matrices.get(_newest(context))
    for layer, statistic in context.statistics.get(context.statistics.default_layers()).items():
        context.ordinary_outputs.power(decoder.projections[layer], matrix_of(decoder, matrices, layer), statistic)


def _newest(context: WorkerContext) -> int:
    with context.database.reading() as session:
        return lineage.resolve(session, parse_reference(context.name)).number
