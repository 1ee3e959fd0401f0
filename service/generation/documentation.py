"""OpenAPI responses of the routes whose answers may be streamed."""

from __future__ import annotations

from typing import Any, Final

from service.generation.service import VERSION_HEADER
from service.http.event_stream import EVENT_STREAM_TYPE

LAST_DATA: Final = "[DONE]"


def answered(chunk: str) -> dict[str, Any]:
    """The entry of a 200 that is JSON, or with `stream` a stream of the schema named `chunk`."""
    return {
        "description": "The answer; with `stream` its chunks as server-sent events, the last one `[DONE]`.",
        "headers": {VERSION_HEADER: {"description": "NAME@vN that answered.", "schema": {"type": "string"}}},
        "content": {
            EVENT_STREAM_TYPE: {
                "itemSchema": {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in (chunk, "OpenAIError")]}
            }
        },
    }
