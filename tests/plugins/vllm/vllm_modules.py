"""The modules of vLLM that the plugin imports, with the signatures of vLLM 0.32 and nothing besides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Set
from dataclasses import dataclass, field
from types import ModuleType


@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str = ""
    base_model_name: str | None = None
    load_inplace: bool = False
    is_3d_lora_weight: bool = False

    def __post_init__(self) -> None:
        assert self.lora_int_id > 0
        assert self.lora_path


class LoRAResolver(ABC):
    @abstractmethod
    async def resolve_lora(self, base_model_name: str, lora_name: str) -> LoRARequest | None: ...


@dataclass
class Registry:
    resolvers: dict[str, LoRAResolver] = field(default_factory=dict)

    def get_supported_resolvers(self) -> Set[str]:
        return self.resolvers.keys()

    def register_resolver(self, resolver_name: str, resolver: LoRAResolver) -> None:
        assert resolver_name not in self.resolvers
        self.resolvers[resolver_name] = resolver


def vllm_modules(registry: Registry) -> dict[str, ModuleType]:
    """Dotted name → module, for sys.modules."""
    modules = {name: ModuleType(name) for name in ("vllm", "vllm.lora", "vllm.lora.request", "vllm.lora.resolver")}
    vars(modules["vllm.lora.request"])["LoRARequest"] = LoRARequest
    vars(modules["vllm.lora.resolver"]).update(LoRAResolver=LoRAResolver, LoRAResolverRegistry=registry)
    return modules
