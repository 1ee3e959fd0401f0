"""`"invalid_facts": "skip"`: what is right is edited, what is wrong is listed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import BOTH_DATABASES
from tests.service.conftest import MODEL, Api, fact

ODD: list[dict[str, Any]] = [
    fact(0),
    fact(1, subject=""),
    fact(2, prompt="Nobody is meant"),
    fact(3, target_new="Paris"),
    fact(4, prompt="The capital of {}'s", subject="Rome"),
    fact(5, nonsense=1),
    fact(0, target_new="Nice"),
    fact(7, paraphrases=["j" * 90]),
    fact(8, aliases=["  "]),
    fact(9),
]
WRONG = {
    1: ("subject", "is empty"),
    2: ("subject", "does not occur in prompt 'Nobody is meant'"),
    3: ("target_new", "equals target_old"),
    4: ("subject", "ends inside the token"),
    5: ("nonsense", "is not known here"),
    6: ("target_new", "contradicts facts[0]"),
    7: ("paraphrases[0]", "the model reads at most"),
    8: ("aliases[0]", ""),
}


def left_out(api: Api, edit: str, **query: Any) -> dict[str, Any]:
    answer: dict[str, Any] = api.http.get(f"/v1/edits/{edit}/left-out", params=query).raise_for_status().json()
    return answer


@BOTH_DATABASES
def test_what_is_right_is_edited_and_each_odd_fact_is_listed_with_its_place_in_the_request(api: Api) -> None:
    answer = api.edit(ODD, invalid_facts="skip")

    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["facts"], job["left_out"]) == (2, 8)
    kept = api.http.get(f"/v1/edits/{job['id']}/facts").json()["data"]
    assert [(one["index"], one["subject"]) for one in kept] == [(0, "Country 0"), (1, "Country 9")]
    listed = left_out(api, job["id"])["data"]
    assert [one["index"] for one in listed] == list(WRONG)
    for one in listed:
        field, says = WRONG[one["index"]]
        assert one["loc"] == f"facts[{one['index']}].{field}"
        assert says in one["msg"]
    assert api.http.get(f"/v1/edits/{job['id']}").json()["left_out"] == 8


def test_the_list_is_paged(api: Api) -> None:
    edit = api.edit(ODD, invalid_facts="skip").json()["id"]

    first = left_out(api, edit, limit=5)
    rest = left_out(api, edit, limit=5, cursor=first["next_cursor"])

    assert [one["index"] for one in (*first["data"], *rest["data"])] == list(WRONG)
    assert rest["next_cursor"] is None


def test_with_all_facts_right_nothing_is_left_out(api: Api) -> None:
    job = api.edit([fact(0)], invalid_facts="skip").json()

    assert job["left_out"] == 0
    assert left_out(api, job["id"]) == {"data": [], "next_cursor": None}


def test_lines_are_skipped_by_the_query(api: Api) -> None:
    body = "\n".join(json.dumps(one) for one in ODD)
    headers = {"Content-Type": "application/x-ndjson"}

    job = api.http.post(f"/v1/edits?model={MODEL}&invalid_facts=skip", content=body, headers=headers).json()

    assert (job["facts"], job["left_out"]) == (2, 8)


def test_where_no_fact_is_right_all_of_it_is_refused(api: Api) -> None:
    answer = api.edit([fact(1, subject=""), fact(2, prompt="Nobody")], invalid_facts="skip")

    assert answer.status_code == 422
    assert [one["loc"] for one in answer.json()["errors"]] == ["facts[0].subject", "facts[1].subject"]
    assert api.http.get("/v1/edits").json()["data"] == []


def test_more_odd_facts_than_a_refusal_shows_are_all_listed(api: Api) -> None:
    job = api.edit([fact(0), *(fact(number, subject=" ") for number in range(1, 450))], invalid_facts="skip").json()

    assert (job["facts"], job["left_out"]) == (1, 449)
    assert left_out(api, job["id"], limit=1000)["data"][-1]["index"] == 449


@pytest.mark.parametrize("fields", [{}, {"invalid_facts": "refuse"}])
def test_without_that_word_one_odd_fact_refuses_all(api: Api, fields: dict[str, str]) -> None:
    assert api.edit(ODD, **fields).status_code == 422
    assert api.http.get("/v1/edits").json()["data"] == []


def test_what_is_wrong_with_the_request_itself_is_refused_all_the_same(api: Api) -> None:
    answer = api.edit(ODD, invalid_facts="skip", thresholds={"EM": 0.5}, settings={"steps": -1})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == "settings.steps"


def test_the_subject_is_taken_from_the_prompt_as_the_tokenizer_can_place_it(api: Api) -> None:
    """ "Rome" is the longest span, and has no token of its own in "Rome's"."""
    auto = {"prompt": "In Al, the capital of Rome's is", "subject": "auto", "target_new": "Lyon"}

    job = api.edit([auto, {**auto, "prompt": "The capital of France is"}]).json()

    kept = api.http.get(f"/v1/edits/{job['id']}/facts").json()["data"]
    assert [(one["subject"], one["prompt"]) for one in kept] == [
        ("Al", "In {}, the capital of Rome's is"),
        ("France", "The capital of {} is"),
    ]
