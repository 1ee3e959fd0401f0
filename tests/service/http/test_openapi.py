"""The committed OpenAPI document is the one that is served, and says what is needed to use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from configuration.settings import Settings
from service.app import create_app
from service.openapi import render

COMMITTED = Path(__file__).parents[3] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    app = create_app(Settings(data=tmp_path_factory.mktemp("data")))
    found: dict[str, Any] = orjson.loads(render(app))
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_committed_document_is_the_present_one(document: dict[str, Any]) -> None:
    assert orjson.loads(COMMITTED.read_bytes()) == document, (
        "the API has changed: look at the difference, then python -m service > docs/openapi.json"
    )


def test_every_operation_has_a_tag_a_summary_and_an_error(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert operation["tags"], name
        assert operation["summary"], name
        if "/v1/" in name:
            assert "401" in operation["responses"], name


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for value in node for found in references(value)] if isinstance(node, list) else []

    names = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= names


def test_bodies_that_are_read_by_hand_are_described(document: dict[str, Any]) -> None:
    body = document["paths"]["/v1/edits"]["post"]["requestBody"]["content"]

    assert set(body) == {"application/json", "application/x-ndjson"}
    assert body["application/json"]["schema"] == {"$ref": "#/components/schemas/EditRequest"}
    assert {"EditRequest", "Fact", "EvaluationRequest", "CompletionRequest", "AliasUpdate"} <= set(
        document["components"]["schemas"]
    )


def test_errors_are_problems_with_their_codes(document: dict[str, Any]) -> None:
    answers = document["paths"]["/v1/edits"]["post"]["responses"]

    assert set(answers) >= {"202", "400", "401", "404", "409", "413", "415", "422", "429", "503"}
    assert set(answers["404"]["content"]) == {"application/problem+json"}
    assert set(answers["404"]["content"]["application/problem+json"]["examples"]) == {
        "model_not_found",
        "version_not_found",
    }
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_links_lead_to_operations_and_their_parameters(document: dict[str, Any]) -> None:
    known = {operation["operationId"]: operation for _, operation in operations(document)}
    links = [
        link
        for operation in known.values()
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    ]

    assert len(links) > 20
    for link in links:
        names = {parameter["name"] for parameter in known[link["operationId"]].get("parameters", ())}
        assert set(link.get("parameters", ())) <= names, link


def test_an_event_stream_is_described_event_by_event(document: dict[str, Any]) -> None:
    answer = document["paths"]["/v1/completions"]["post"]["responses"]["200"]["content"]["text/event-stream"]

    chunk, done = answer["itemSchema"]["properties"]["data"]["anyOf"]
    assert chunk["contentSchema"]["anyOf"][0] == {"$ref": "#/components/schemas/CompletionChunk"}
    assert done == {"const": "[DONE]"}


def test_statuses_come_with_the_headers_that_they_need(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, header in {"401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After"}.items():
            if status in operation["responses"]:
                assert operation["responses"][status]["headers"][header]["required"], (name, status)


def test_on_the_paths_of_openai_a_wrong_field_is_a_400(document: dict[str, Any]) -> None:
    answers = document["paths"]["/tokenizer_info"]["get"]["responses"]

    assert "400" in answers
    assert "422" not in answers


def test_the_document_is_the_same_for_every_application(tmp_path: Path, document: dict[str, Any]) -> None:
    assert orjson.loads(render(create_app(Settings(data=tmp_path)))) == document
