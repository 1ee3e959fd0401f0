"""Which tokens a revert pins: as many as there is room for, and none that a fact which stays is said by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest
import torch

from api_schemas.facts import Fact
from editing.answer_keys import Prefix, answer_tokens
from editing.reverting import KeptLayer
from tests.editing.tiny_models import tiny_tokenizer
from versions.lineage_facts import LineageFact, Place
from versions.tables import VersionRow
from workers.kept import KeptEdit
from workers.pins import leaving_alone, pinned_prefixes
from workers.reversal import Affected

TOKENIZER = tiny_tokenizer(bos=True)
EDIT = "edit_1"


def told(index: int, prompt: str, subject: str, reverted_by: int | None = None, new: str = "Spain") -> LineageFact:
    fact = {"prompt": prompt, "subject": subject, "target_new": new, "target_old": "New Zealand"}
    return LineageFact(Place(EDIT, 1, index), fact, reverted_by, None, None)


def chosen(here: list[LineageFact], leaving: list[LineageFact], d_in: int = 1000, pins: int = 0) -> list[Prefix]:
    present = torch.zeros(d_in, pins) if pins else None
    layer = KeptLayer(torch.zeros(d_in, 1), torch.zeros(1, 1), 0.0, present)
    kept = KeptEdit(cast(VersionRow, None), (0,), {1: layer}, None)
    return pinned_prefixes(TOKENIZER, here, {EDIT: leaving}, {EDIT: kept}).get(EDIT, [])


def ids(text: str) -> Prefix:
    return tuple(TOKENIZER.encode(text).ids)


def texts(of: LineageFact) -> Mapping[str, set[Prefix]]:
    found = answer_tokens(TOKENIZER, Fact.model_validate(of.fact))
    return {
        "all": set(found.prefixes()),
        "onward": set(found.prefixes(found.subject_last)),
        "subject": {found.subject},
    }


def test_every_token_of_prompt_and_answers_where_there_is_room() -> None:
    out, stays = told(0, "The twin city of {} is", "Lyon"), told(1, "The twin city of {} is", "Wellington")
    assert set(chosen([out, stays], [out])) == texts(out)["all"]


@pytest.mark.parametrize("level", ["all", "onward", "subject"])
def test_fewer_tokens_where_room_is_less(level: str) -> None:
    out, stays = told(0, "The mother tongue of {} is", "Toko Yasuda"), told(1, "{} is", "Wellington")
    wanted = texts(out)[level]
    room = len(wanted)
    assert set(chosen([out, stays], [out], d_in=4 * room)) == wanted
    assert set(chosen([out, stays], [out], d_in=4 * (room + 10), pins=10)) == wanted
    fewer = chosen([out, stays], [out], d_in=4 * (room - 1))
    assert set(fewer) < wanted
    assert (fewer == []) == (level == "subject")


def test_the_key_of_a_fact_that_stays_is_left_out() -> None:
    out, stays = told(0, "{} is located in", "Lyon Madrid"), told(1, "{} plays the", "Lyon")
    found = set(chosen([out, stays], [out]))
    assert ids("Lyon") not in found
    assert found == texts(out)["all"] - {ids("Lyon")}
    gone = told(1, "{} plays the", "Lyon", reverted_by=2)
    other = told(2, "{} plays the", "Wellington")
    assert set(chosen([out, gone, other], [out])) == texts(out)["all"]


def test_nothing_is_pinned_where_nothing_stays() -> None:
    out, gone = told(0, "The twin city of {} is", "Lyon"), told(1, "{} is", "Wellington", reverted_by=2)
    assert chosen([out, gone], [out]) == []


def test_what_shares_a_subject_with_a_fact_that_stays_is_not_pinned() -> None:
    here = [told(0, "{} is", "Lyon"), told(1, "{} plays the", "Lyon"), told(2, "{} is", "Toko Yasuda")]
    affected = {EDIT: Affected(out=[0, 1], again={0: [1]})}
    assert leaving_alone(here, [here[0], here[2]], affected) == {EDIT: [here[2]]}
