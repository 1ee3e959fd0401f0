"""What a worker does ahead of an edit, while no task waits: the context texts that it is planned with and their passes
through the model, what matrices write at ordinary text, and for the first one the base's reading of the text that drift
is measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from api_schemas.references import parse_reference
from api_schemas.settings import DEFAULT_ALGORITHM, SettingsOverrides
from editing.methods import ALGORITHMS, EditSettings, resolve_settings
from editing.values.chat_forms import chat_forms
from editing.values.contexts import contexts_of
from store.lineage import versions as lineage
from workers.context import WorkerContext
from workers.tasks.plan import forms_of
from workers.weights.layer_weights import matrix_of


def prepare_first_edit(context: WorkerContext) -> None:
    """Ask for it, on the newest version and with default settings; later edits find it done by those before them."""
    context.ahead.add("held-out text", lambda: context.measuring.held_out().begin())
    context.ahead.add("the first edit", lambda: _prepare(context, _newest(context), _default_settings(context)))


def prepare_next_edit(context: WorkerContext, version: int, settings: Callable[[], EditSettings]) -> None:
    """Ask for what an edit on the new `version` will want, if it has the same settings as the one that made it.

    Nothing of that one is held until then: its matrices are the cache's.
    """
    context.ahead.add("the next edit", lambda: _prepare(context, version, settings()))


def _prepare(context: WorkerContext, version: int, settings: EditSettings) -> None:
    context.ahead.add("context texts", lambda: context.context_texts.of(version, settings))
    context.ahead.add("context prefix", lambda: _run_contexts(context, version, settings))
    context.ahead.add("ordinary outputs", lambda: _measure_outputs(context, version, settings.layers))


def _run_contexts(context: WorkerContext, version: int, settings: EditSettings) -> None:
    texts = [one.text for one in context.context_texts.of(version, settings)]
    forms = forms_of(context, settings)
    contexts = contexts_of(context.model.backend_tokenizer, texts, forms, settings.chat_weight)
    context.context_prefixes.of(version, contexts)


def _measure_outputs(context: WorkerContext, version: int, layers: Sequence[int]) -> None:
    decoder, matrices = context.model.decoder, context.matrices.get(version)
    for layer, statistic in context.statistics.get(tuple(layers)).items():
        context.ordinary_outputs.power(decoder.projections[layer], matrix_of(decoder, matrices, layer), statistic)


def _default_settings(context: WorkerContext) -> EditSettings:
    return resolve_settings(
        ALGORITHMS[DEFAULT_ALGORITHM],
        context.model.shape,
        SettingsOverrides(),
        has_chat_template=bool(chat_forms(context.model.tokenizer)),
    )


def _newest(context: WorkerContext) -> int:
    with context.database.reading() as session:
        return lineage.resolve(session, parse_reference(context.name)).number
