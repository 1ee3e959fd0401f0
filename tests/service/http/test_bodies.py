"""Bodies that are not what they should be: their type, their size, their JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from service.errors import MalformedJSONError
from service.http.bodies import parse_json, parse_ndjson
from tests.service.conftest import MODEL, Api

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "line 1, column 1: the body is empty"),
        (b'{"model": "tiny",\n "facts": [}', "line 2, column 12: Expecting value"),
        (b'{"model": "tiny"', "line 1, column 17: Expecting ',' delimiter"),
        (b'{"a": 1} {"b": 2}', "line 1, column 10: Extra data"),
        (b"{'a': 1}", "line 1, column 2: Expecting property name enclosed in double quotes"),
        (b'{"mu": NaN}', "NaN is not a JSON number; send a finite number or null"),
        (b'{"mu": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"mu": 1e999}', "the number 1e999 is too large"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "has 5000 digits"),
        (b'{"subject": "Paris", "subject": "Lyon"}', 'the key "subject" more than once ("Paris", "Lyon"); keep one'),
        (b'{"a":\n "\xff"}', "line 2, byte 3 is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_malformed_json_is_refused_naming_the_place(body: bytes, says: str) -> None:
    with pytest.raises(MalformedJSONError) as refused:
        parse_json(body)

    assert says in refused.value.detail


@pytest.mark.parametrize("text", ["2.0", "2e0", "0.2e1", "2"])
def test_a_whole_number_is_one_however_it_is_written(text: str) -> None:
    value = parse_json(f'{{"n": {text}}}'.encode())["n"]

    assert (value, type(value)) == (2, int)


def test_json_may_begin_with_a_byte_order_mark() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": [1, 2.5, null, true]}') == {"a": [1, 2.5, None, True]}


def test_ndjson_names_the_line_and_takes_any_line_end() -> None:
    assert parse_ndjson(b'{"a": 1}\r\n{"b": "\xe2\x80\xa8"}\n\n') == [{"a": 1}, {"b": "\u2028"}]
    with pytest.raises(MalformedJSONError, match="line 3, column 7: Expecting value"):
        parse_ndjson(b'{"a": 1}\n{"a": 2}\n{"a": }\n')
    with pytest.raises(MalformedJSONError, match="line 2 is empty; write one fact on each line"):
        parse_ndjson(b'{"a": 1}\n\n{"a": 2}\n')


@pytest.mark.parametrize("path", ["/v1/edits", "/v1/evaluations", "/v1/models/tiny/aliases/best"])
def test_a_body_that_is_not_json_is_a_400_problem(api: Api, path: str) -> None:
    method = "PUT" if "aliases" in path else "POST"

    answer = api.http.request(method, path, content='{"model": "tiny",\n oops}', headers=JSON)

    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["instance"]) == (400, "malformed_json", path)
    assert "line 2, column 2" in problem["detail"]


@pytest.mark.parametrize("body", ["[]", '"facts"', "5", "null"])
def test_a_body_that_is_no_object_is_a_422(api: Api, body: str) -> None:
    for path in ("/v1/edits", "/v1/evaluations"):
        answer = api.http.post(path, content=body, headers=JSON)
        assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, "body")


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Content-Type": "text/plain"}, "Content-Type is text/plain; send application/json or application/x-ndjson"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "send application/json"),
        ({}, "there is no Content-Type; send application/json"),
        ({**JSON, "Content-Encoding": "gzip"}, "Content-Encoding is gzip; send the body as it is"),
    ],
)
def test_a_body_of_another_type_is_a_415(api: Api, headers: dict[str, str], says: str) -> None:
    answer = api.http.post("/v1/edits", content=b"{}", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert says in answer.json()["detail"]


def test_a_declared_body_over_the_limit_is_a_413(serve: Callable[..., Api], model: str) -> None:
    api = serve(max_body_bytes=1000)

    for path in ("/v1/edits", "/v1/completions"):
        answer = api.http.post(path, content=b" " * 1001, headers=JSON)
        assert answer.status_code == 413
        assert "larger than 1000 bytes" in answer.text
        assert "several batches" in answer.text


def test_a_streamed_body_is_refused_when_it_reaches_the_limit(serve: Callable[..., Api], model: str) -> None:
    api = serve(max_body_bytes=100_000)
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 50_000_000:
            sent += 10_000
            yield b" " * 10_000

    answer = api.http.post("/v1/edits", content=endless(), headers=JSON)

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_body_at_the_limit_is_read(serve: Callable[..., Api], model: str) -> None:
    body = b'{"model": "' + MODEL.encode() + b'", "facts": []}'
    api = serve(max_body_bytes=len(body))

    assert api.http.post("/v1/edits", content=body, headers=JSON).status_code == 422
