"""Pins a request to the one version that its reference means now, whatever happens to aliases meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Tokenizer

from api_schemas.references import version_name
from service.errors import NoWorkerError
from service.models.references import reference_in
from service.resources import Resources
from store.lineage import models
from store.lineage import versions as lineage
from store.schema.tables import ModelRow


@dataclass(frozen=True)
class ServedModel:
    """What the front end knows of a model that some worker has loaded once. `special_tokens`: "bos_token" → text."""

    name: str
    tokenizer: Tokenizer
    context_length: int
    chat_template: str | None
    special_tokens: dict[str, str]


@dataclass(frozen=True)
class PinnedModel:
    model: ServedModel
    version: int

    @property
    def version_name(self) -> str:
        """`NAME@vN`."""
        return f"{self.model.name}@{version_name(self.version)}"


def pin(resources: Resources, reference_text: str) -> PinnedModel:
    """The version that `reference_text` means now, for which a worker is ready.

    Raises InvalidFieldsError, NotFoundError or NoWorkerError.
    """
    reference = reference_in(reference_text)
    resources.caller.check_model(reference.name)
    with resources.database.reading() as session:
        row = models.get(session, reference.name)
        version = lineage.resolve_number(session, reference).version
    awaited = resources.workers.awaited(row.name)
    if awaited is not None:
        raise NoWorkerError(awaited)
    return PinnedModel(loaded(resources, row), version)


def loaded(resources: Resources, row: ModelRow) -> ServedModel:
    """Raises NoWorkerError where no worker has loaded the model yet."""
    if row.tokenizer_blob is None or row.context_length is None:
        raise NoWorkerError(f"model {row.name!r} has not been loaded yet; try again shortly")
    tokenizer = resources.tokenizers.get(row.tokenizer_blob)
    return ServedModel(row.name, tokenizer, row.context_length, row.chat_template, row.special_tokens or {})
