"""Pages on the API, made of docs/openapi.json: one for each resource (the document's tags), and one of all bodies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from docs.site.navigation import toctree
from docs.site.schemas import anchor, described, fields, type_of

_PROBLEM: Final = "Problem"
_INTRODUCTION: Final = """\
# The API

{description}

These pages are made of the server's own document, `/openapi.json`. A running server shows the same at `/docs`, where
each request can be tried, and at `/redoc`. The [Python client](../client.md) and the command `emmetd` use nothing else.

| resource | |
|---|---|
{rows}
"""


def api_pages(document: Mapping[str, Any]) -> dict[str, str]:
    """Path below the site → Markdown."""
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    rows = "\n".join(f"| [{name.capitalize()}]({name}.md) | {text} |" for name, text in tags.items())
    rows += "\n| [Bodies](bodies.md) | Every object that requests and answers are made of |"
    introduction = _INTRODUCTION.format(description=document["info"]["description"].strip(), rows=rows)
    pages = {"api/index.md": introduction + "\n" + toctree([*tags, "bodies"])}
    for name, text in tags.items():
        operations = list(_operations(document, name))
        pages[f"api/{name}.md"] = f"# {name.capitalize()}\n\n{text}\n\n" + "\n".join(operations)
    return {**pages, "api/bodies.md": _bodies(document)}


def _operations(document: Mapping[str, Any], tag: str) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield _operation(method.upper(), path, operation)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [f"## {operation['summary']}", f"```text\n{method} {path}\n```"]
    parts += [operation["description"]] if "description" in operation else []
    parts.append(_access(operation["security"]))
    if operation.get("parameters"):
        parts.append(_parameters(operation["parameters"]))
    if "requestBody" in operation:
        parts += _request(operation["requestBody"])
    parts.append(_responses(operation["responses"]))
    return "\n\n".join(parts) + "\n"


def _access(security: list[dict[str, list[str]]]) -> str:
    scopes = [scope for entry in security for needed in entry.values() for scope in needed]
    if scopes:
        return f"Needs a key with the scope {' or '.join(f'`{scope}`' for scope in scopes)}."
    return "Needs a key, of any scope." if security else "Needs no key."


def _parameters(parameters: list[dict[str, Any]]) -> str:
    rows = ["| parameter | in | type | |", "|---|---|---|---|"]
    for one in parameters:
        needed = "Required. " if one.get("required") and one["in"] != "path" else ""
        default = one["schema"].get("default")
        shown = f" By default `{json.dumps(default)}`." if default is not None else ""
        text = described(one.get("description", ""))
        rows.append(
            f"| `{one['name']}` | {one['in']} | {type_of(one['schema'], 'bodies.md')} | {needed}{text}{shown} |"
        )
    return "\n".join(rows)


def _request(body: Mapping[str, Any]) -> Iterator[str]:
    for kind, content in body["content"].items():
        yield f"**Body**, `{kind}`: {type_of(content['schema'], 'bodies.md')}"
        examples: list[Mapping[str, Any]] = list(content.get("examples", {}).values())
        example = content.get("example", examples[0].get("value") if examples else None)
        if isinstance(example, str):
            yield f"```text\n{example.strip()}\n```"
        elif example is not None:
            yield f"```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```"


def _responses(responses: Mapping[str, Any]) -> str:
    rows = ["| status | | body |", "|---|---|---|"]
    for status, response in responses.items():
        bodies = []
        for kind, content in response.get("content", {}).items():
            schema = content.get("schema", {})
            of = type_of(schema, "bodies.md") if schema else ""
            bodies.append(
                of if kind == "application/json" or of.startswith(f"[{_PROBLEM}]") else f"`{kind}` {of}".strip()
            )
        rows.append(f"| {status} | {described(response['description'])} | {', '.join(dict.fromkeys(bodies))} |")
    return "\n".join(rows)


def _bodies(document: Mapping[str, Any]) -> str:
    parts = ["# Bodies\n\nThe objects of requests and answers, by name. A field that is not required may be left out."]
    for name, schema in sorted(document["components"]["schemas"].items()):
        assert re.fullmatch(r"\w+", name)
        parts.append(f"## {name}")
        if "description" in schema:
            parts.append(schema["description"])
        parts.append(fields(schema))
        assert anchor(name)
    return "\n\n".join(parts) + "\n"
