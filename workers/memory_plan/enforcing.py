"""A worker says what memory it will take before it loads anything, and where asked to does not start if that cannot
fit."""

from __future__ import annotations

import structlog

from configuration.errors import ConfigurationError
from configuration.settings import Settings
from workers.memory_plan.configured import PlannedWorker

log = structlog.get_logger(__name__)


def require_memory(settings: Settings, planned: PlannedWorker) -> None:
    """Log the plan. Raises ConfigurationError where it does not fit, where the setting `memory_plan` is "enforced"."""
    plan = planned.plan
    peaks = {place: plan.peak(place) for place in plan.available}
    parts = {part.name: part.bytes for part in plan.parts}
    log.info("memory plan", fits=plan.fits, available=dict(plan.available), peaks=peaks, parts=parts)
    if planned.refusal is None:
        return
    if settings.memory_plan == "told":
        log.warning("the memory plan does not fit", reason=planned.refusal)
        return
    raise ConfigurationError(
        f"{planned.refusal}. EMMETD_MEMORY_PLAN=told starts it all the same; `emmetd models prepare --plan` shows all"
    )
