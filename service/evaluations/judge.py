"""Whether a judge may be asked, and what it is asked with."""

from __future__ import annotations

from typing import Any, Final

from api_schemas.evaluations import EvaluationRequest
from configuration.settings import Settings
from service.http.fields import invalid

SAID: Final = ("GA_chat", "GA")
"""The metrics that have a fact's answer said, the one that is judged first."""


def judge_asked(request: EvaluationRequest, settings: Settings) -> dict[str, Any] | None:
    """The judge's model and prompt as they are now, None where none is asked for. Raises InvalidFieldsError."""
    if not request.judge:
        return None
    if settings.judge_url is None or settings.judge_model is None:
        raise invalid(
            "judge",
            "is true, and this server has no judge; leave it out, or have its operator set EMMETD_JUDGE_URL and "
            "EMMETD_JUDGE_MODEL",
        )
    if not any(name in request.metrics for name in SAID):
        raise invalid("judge", f"is true, and nothing is said that could be judged; add {' or '.join(SAID)} to metrics")
    return {"model": settings.judge_model, "prompt": settings.judge_prompt}
