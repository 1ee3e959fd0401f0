"""Who makes a request, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from api_schemas.access import SCOPES, Scope
from service.errors import ModelNotGrantedError, ScopeMissingError
from store.access.audit import BOOTSTRAP, LOCAL, Actor


@dataclass(frozen=True)
class Limits:
    """What a key may do in a time, and have at a time; 0 is no limit."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    facts_per_day: int = 0
    open_batches: int = 0
    event_streams: int = 0


@dataclass(frozen=True)
class Caller:
    """`id` is a key's, BOOTSTRAP or LOCAL. `models` are the NAMEs that it may see and touch, None for all."""

    id: str
    scopes: frozenset[Scope]
    label: str | None = None
    models: frozenset[str] | None = None
    limits: Limits = Limits()
    address: str | None = None

    @property
    def is_admin(self) -> bool:
        """Whether it moves what is protected. Without keys nobody can be told from anybody: nothing is theirs alone."""
        return "admin" in self.scopes and self.id != LOCAL

    @property
    def actor(self) -> Actor:
        return Actor(self.id, self.label, self.address)

    def sees(self, model: str) -> bool:
        return self.models is None or model in self.models

    def check_scopes(self, wanted: tuple[Scope, ...]) -> None:
        """Raises ScopeMissingError unless it has one of `wanted`, where there are any; `admin` stands for all."""
        if wanted and "admin" not in self.scopes and not self.scopes & set(wanted):
            raise ScopeMissingError(wanted, sorted(self.scopes))

    def check_model(self, name: str) -> None:
        """Raises ModelNotGrantedError for a NAME that it is not for, whether or not there is such a model."""
        if not self.sees(name):
            raise ModelNotGrantedError(f"this API key is not for the model {name[:64]!r}; it is for {self._granted()}")

    def check_owner(self, model: str, what: str) -> None:
        """`check_model` for a thing that was asked for by its id: its model, which may be unknown to them, stays so."""
        if not self.sees(model):
            raise ModelNotGrantedError(
                f"{what} is of a model that this API key is not for; it is for {self._granted()}"
            )

    def check_all_models(self, what: str) -> None:
        """Raises ModelNotGrantedError unless it is for all models: `what` is of no model."""
        if self.models is not None:
            raise ModelNotGrantedError(
                f"{what} are for who may see all models; this API key: it is for {self._granted()}"
            )

    def _granted(self) -> str:
        return ", ".join(sorted(self.models or ())) or "none"


NOBODY: Final = Caller("", frozenset())
"""Who asks where no key is looked at: health and metrics."""


def local(address: str | None) -> Caller:
    """Anybody on this machine, where the server needs no keys."""
    return Caller(LOCAL, frozenset(SCOPES), address=address)


def bootstrap(address: str | None) -> Caller:
    """Whoever has the key of the configuration."""
    return Caller(BOOTSTRAP, frozenset(SCOPES), address=address)
