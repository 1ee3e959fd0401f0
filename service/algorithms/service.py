"""The table of methods as clients see it: every setting with its type, range, meaning and default."""

from __future__ import annotations

from typing import Any

from api_schemas.algorithms import AlgorithmInfo, AlgorithmList, SettingInfo, SettingType
from api_schemas.settings import SettingsOverrides
from editing.methods import (
    ALGORITHMS,
    Algorithm,
    EditSettings,
    resolve_settings,
)
from service.models.references import reference_in, shape_of
from service.resources import Resources
from store.lineage import models

_TYPES: dict[str, SettingType] = {
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "string": "text",
}


def algorithms(resources: Resources, model: str | None) -> AlgorithmList:
    """All methods; for a known `model`, each setting also with the value that it takes there."""
    most = resources.settings.max_facts
    if model is None:
        return AlgorithmList(model=None, max_facts=most, data=[_info(row, None) for row in ALGORITHMS.values()])
    name = reference_in(model, "query.model").name
    with resources.database.reading() as session:
        model_row = models.get(session, name)
    shape, chat = shape_of(model_row), model_row.chat_template is not None
    infos = [
        _info(row, None if shape is None else resolve_settings(row, shape, SettingsOverrides(), has_chat_template=chat))
        for row in ALGORITHMS.values()
    ]
    return AlgorithmList(model=name, max_facts=most, data=infos)


def _info(row: Algorithm, recommended: EditSettings | None) -> AlgorithmInfo:
    shown = None if recommended is None else recommended.model_dump(mode="json")
    return AlgorithmInfo(
        name=row.name,
        title=row.title,
        summary=row.summary,
        paper=row.paper,
        batch_limit=row.batch_limit,
        settings=[_setting(name, schema, row, shown) for name, schema in _schemas().items()],
        presets={name: dict(preset) for name, preset in row.presets.items()},
    )


def _schemas() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = SettingsOverrides.model_json_schema()["properties"]
    return found


def _setting(name: str, schema: dict[str, Any], row: Algorithm, recommended: dict[str, Any] | None) -> SettingInfo:
    value = next(part for part in schema["anyOf"] if part.get("type") != "null")
    limits = value.get("items", value)
    default = row.defaults.get(name, EditSettings.model_fields[name].get_default() if name != "preset" else None)
    return SettingInfo(
        name=name,
        type=_list_type(limits) if value["type"] == "array" else _TYPES[value["type"]],
        description=schema["description"],
        default=None if name == "layers" and name not in row.defaults else default,
        recommended=None if recommended is None else recommended.get(name),
        minimum=limits.get("minimum"),
        exclusive_minimum=limits.get("exclusiveMinimum"),
        maximum=limits.get("maximum"),
        choices=list(row.presets) if name == "preset" else limits.get("enum"),
    )


def _list_type(of: dict[str, Any]) -> SettingType:
    return "list of texts" if of.get("type") == "string" else "list of integers"
