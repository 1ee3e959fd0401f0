"""JSON Schema in words: what type a value has, and the fields of an object as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "maxLength": "at most {} characters",
    "maxItems": "at most {} entries",
}


def anchor(name: str) -> str:
    """Of a schema's heading."""
    return name.lower()


def type_of(schema: Mapping[str, Any], page: str = "") -> str:
    """In Markdown, with links to schemas of other names on `page`; of this page where that is empty."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}]({page}#{anchor(name)})"
    if "anyOf" in schema or "oneOf" in schema:
        kinds = [type_of(one, page) for one in schema.get("anyOf", schema.get("oneOf"))]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value, ensure_ascii=False)}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'], ensure_ascii=False)}`"
    kind = schema.get("type")
    if kind == "array":
        inner = type_of(schema.get("items", {}), page)
        return f"array of {inner}{_bounds(schema)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {type_of(schema['additionalProperties'], page)}"
    return f"{kind or 'any value'}{_bounds(schema)}"


def fields(schema: Mapping[str, Any]) -> str:
    """The fields of an object, or the type of anything else."""
    if not schema.get("properties"):
        return f"{type_of(schema)}".capitalize() if schema.get("type") == "object" else type_of(schema)
    rows = ["| field | type | |", "|---|---|---|"]
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        words = ["Required."] if name in required else []
        words += [described(field["description"])] if "description" in field else []
        if field.get("default") not in (None, [], {}):
            words.append(f"By default `{json.dumps(field['default'], ensure_ascii=False)}`.")
        if field.get("examples"):
            words.append(f"Such as `{described(json.dumps(field['examples'][0], ensure_ascii=False))}`.")
        rows.append(f"| `{name}` | {type_of(field)} | {' '.join(words)} |")
    return "\n".join(rows)


def described(text: str) -> str:
    """For a cell of a table: on one line, and without what would end the cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _bounds(schema: Mapping[str, Any]) -> str:
    told = [words.format(schema[name]) for name, words in BOUNDS.items() if name in schema]
    return f" ({', '.join(told)})" if told else ""
