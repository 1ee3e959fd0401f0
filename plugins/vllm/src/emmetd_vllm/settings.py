"""What the environment of vLLM says: where emmetd is, which key opens it, where adapters are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from emmetd_vllm.errors import SettingsError

URL: Final = "EMMETD_URL"
API_KEY: Final = "EMMETD_API_KEY"
CACHE: Final = "EMMETD_VLLM_CACHE"
MODEL: Final = "EMMETD_VLLM_MODEL"
RUNTIME_UPDATING: Final = "VLLM_ALLOW_RUNTIME_LORA_UPDATING"
"""vLLM's own: without it no resolver is asked."""
NAME_PATTERN: Final = r"[a-z0-9][a-z0-9._-]{0,63}"


@dataclass(frozen=True)
class Settings:
    """`model` is the NAME whose base this vLLM serves, None where names of bases are compared instead."""

    url: str
    api_key: str | None = field(repr=False)
    cache: Path
    model: str | None = None


def settings_from(environment: Mapping[str, str]) -> Settings | None:
    """None where EMMETD_URL is not set. Raises SettingsError."""
    url = environment.get(URL, "").strip()
    if not url:
        return None
    model = environment.get(MODEL, "").strip() or None
    if model is not None and re.fullmatch(NAME_PATTERN, model) is None:
        raise SettingsError(f"{MODEL} is {model[:100]!r}, which is no NAME of emmetd; write it as in smollm2-135m")
    return Settings(url, environment.get(API_KEY) or None, _cache(environment), model)


def _cache(environment: Mapping[str, str]) -> Path:
    """Absolute: vLLM's workers may run in another folder. Raises SettingsError."""
    named = environment.get(CACHE, "").strip()
    try:
        if named:
            return Path(named).expanduser().absolute()
        above = environment.get("XDG_CACHE_HOME", "").strip()
        return (Path(above) if above else Path.home() / ".cache").absolute() / "emmetd" / "vllm"
    except RuntimeError:  # no home is known for this user
        raise SettingsError(f"{CACHE} is {named!r} and this user has no home; set it to a folder") from None
