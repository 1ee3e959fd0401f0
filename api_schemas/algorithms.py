"""Methods and their settings, as `GET /v1/algorithms` shows them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

SettingType = Literal["integer", "number", "boolean", "text", "list of integers", "list of texts"]


class SettingInfo(BaseModel):
    """One setting. `default` is the method's on a model that nothing is known of; null where it depends on the model.

    `recommended` is what a batch on the model of `?model=` takes where its caller sets nothing; it may differ from
    `default`.

    Values lie between `minimum` and `maximum`, or above `exclusive_minimum`; for a list those hold for its entries.
    """

    name: str
    type: SettingType
    description: str
    default: Any
    recommended: Any = None
    minimum: float | None = None
    exclusive_minimum: float | None = None
    maximum: float | None = None
    choices: list[str] | None = None


class AlgorithmInfo(BaseModel):
    """`batch_limit` is how many subjects one batch may have; null is any number. `recommended` needs `?model=`."""

    name: str
    title: str
    summary: str
    paper: str
    batch_limit: int | None
    settings: list[SettingInfo]
    presets: dict[str, dict[str, Any]]


class AlgorithmList(BaseModel):
    """`model` is the model that the recommendations are for; `max_facts` is how many facts one batch may have here."""

    model: str | None
    max_facts: int
    data: list[AlgorithmInfo]
