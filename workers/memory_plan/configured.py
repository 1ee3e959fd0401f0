"""The memory plan of the configured model on this machine, from settings and what lies in the data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from api_schemas.settings import DEFAULT_ALGORITHM, SettingsOverrides
from configuration.machine.memory import available_memory, resident_bytes
from configuration.settings import Settings
from editing.inventory import prepared_models, prepared_statistics
from editing.methods import ALGORITHMS, EditSettings, ModelShape, resolve_settings
from editing.model.loading import kept_folder
from editing.model.weightless import configuration_of, weightless_decoder
from editing.values.chat_forms import INSTRUCTIONS
from workers.generation.memory import free_memory
from workers.memory_plan.parts import HOST, place_of
from workers.memory_plan.plan import MemoryPlan, plan_memory
from workers.memory_plan.remedies import refusal
from workers.memory_plan.request import PLANNED_FACTS, PlanRequest


@dataclass(frozen=True)
class PlannedWorker:
    """`plan` for the model `name`, made for `request`; `refusal` is why it cannot run so and what to do, if it
    cannot."""

    name: str
    request: PlanRequest
    plan: MemoryPlan
    refusal: str | None

    def as_dict(self) -> dict[str, Any]:
        request = self.request
        return {
            "model": self.name,
            "device": str(request.device),
            "dtype": str(request.decoder.dtype).removeprefix("torch."),
            "algorithm": request.algorithm.name,
            "layers": list(request.settings.layers),
            "facts": request.facts,
            "refusal": self.refusal,
            **self.plan.as_dict(),
        }


def planned_worker(
    settings: Settings,
    device: torch.device,
    dtype: torch.dtype,
    layers: tuple[int, ...] | None = None,
    facts: int = PLANNED_FACTS,
) -> PlannedWorker:
    """What a worker with these settings will take; `layers` are those of C0 instead of the model's recommended ones,
    `facts` those of a batch.

    To be called before anything is loaded: what this process takes by then counts as libraries. Raises ModelLoadError,
    UnsupportedModelError, or ValueError for a layer that does not exist.
    """
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    config = configuration_of(settings.model, cache=settings.data, revision=settings.revision, token=token)
    decoder = weightless_decoder(config, dtype)
    folder = kept_folder(settings.model, cache=settings.data, revision=settings.revision)
    algorithm = ALGORITHMS[DEFAULT_ALGORITHM]
    shape = ModelShape(str(config.model_type), len(decoder.layers), decoder.projections[0].d_in)
    forms = len(INSTRUCTIONS) if folder is not None and _has_chat_template(folder) else 0
    overrides = SettingsOverrides(layers=None if layers is None else list(layers))
    chosen = resolve_settings(algorithm, shape, overrides, has_chat_template=forms > 0)
    request = PlanRequest(
        decoder=decoder,
        device=device,
        algorithm=algorithm,
        settings=chosen,
        available={HOST: available_memory()} | {place_of(device): free_memory(device)},
        kv_cache_bytes=None if settings.kv_cache_bytes is None else int(settings.kv_cache_bytes),
        matrix_cache_bytes=None if settings.matrix_cache_bytes is None else int(settings.matrix_cache_bytes),
        held_out_cache_bytes=int(settings.held_out_cache_bytes),
        batch_versions=settings.batch_versions,
        facts=facts,
        chat_forms=forms,
        stored_bytes=_stored_bytes(config, folder, dtype),
        statistics_ready=_statistics_ready(settings.data, folder, dtype, chosen),
        runtime_bytes=resident_bytes(),
    )
    return PlannedWorker(settings.served_model_name, request, plan_memory(request), refusal(settings.model, request))


def _stored_bytes(config: Any, folder: Path | None, dtype: torch.dtype) -> int:
    """Of the weights' files, where these hold another dtype than the model computes in: both are in memory while it is
    loaded."""
    stored = getattr(config, "dtype", None) or dtype
    if stored == dtype:
        return 0
    return sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder else 0


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    try:
        return '"chat_template"' in (folder / "tokenizer_config.json").read_text()
    except OSError:
        return False


def _statistics_ready(data: Path, folder: Path | None, dtype: torch.dtype, settings: EditSettings) -> bool:
    """Whether C0 of all layers was made for these weights."""
    if folder is None:
        return False
    name = str(dtype).removeprefix("torch.")
    known = [model.weights.get(name) for model in prepared_models(data) if model.folder == folder.resolve()]
    made = {(one.fingerprint, one.layer) for one in prepared_statistics(data / "statistics")}
    return any(all((fingerprint, layer) in made for layer in settings.layers) for fingerprint in known if fingerprint)
