"""The entry point: vLLM calls `register` in each of its processes when it starts."""

from __future__ import annotations

import logging
import os
from typing import Final

from emmetd_vllm.errors import SettingsError
from emmetd_vllm.settings import RUNTIME_UPDATING, URL, settings_from

RESOLVER_NAME: Final = "emmetd"

log = logging.getLogger("vllm.emmetd")


def register() -> None:
    """Make emmetd one of vLLM's LoRA resolvers where EMMETD_URL is set. Raises nothing: vLLM would not start."""
    try:
        settings = settings_from(os.environ)
        if settings is None:
            log.info("emmetd-vllm does nothing: %s is not set; set it to emmetd's address", URL)
            return
        # Here, since a vLLM without these modules shall start nevertheless.
        from vllm.lora.resolver import LoRAResolverRegistry

        from emmetd_vllm.resolver import EmmetdResolver
    except SettingsError as error:
        log.error("emmetd-vllm does nothing: %s", error)
        return
    except ImportError as error:
        log.error("emmetd-vllm does nothing: this vLLM has no LoRA resolvers (%s); install 0.32", error)
        return
    if RESOLVER_NAME in LoRAResolverRegistry.get_supported_resolvers():
        return
    LoRAResolverRegistry.register_resolver(RESOLVER_NAME, EmmetdResolver(settings))
    if os.environ.get(RUNTIME_UPDATING, "").strip().lower() not in ("1", "true"):
        log.warning("emmetd-vllm is never asked: set %s=True, without which vLLM resolves no names", RUNTIME_UPDATING)
