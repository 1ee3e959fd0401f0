"""Which tokens a revert pins: as many as there is room for, and none that a fact which stays is said by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import pytest
import torch

from api_schemas.facts import Fact, subject_key
from editing.solve.reverting import KeptLayer
from editing.values.answer_keys import Prefix, answer_tokens
from store.lineage.facts_in_force import LineageFact, Place
from store.schema.tables import VersionRow
from tests.support.tiny_models import tiny_tokenizer
from workers.reverting.kept import KeptEdit, column_of_subject
from workers.reverting.pins import TextKeys, leaving_alone, text_keys
from workers.reverting.reversal import Affected

TOKENIZER = tiny_tokenizer(bos=True)
EDIT = "edit_1"


def told(
    index: int, prompt: str, subject: str, reverted_by: int | None = None, new: str = "Spain", edit: str = EDIT
) -> LineageFact:
    fact = {"prompt": prompt, "subject": subject, "target_new": new, "target_old": "New Zealand"}
    return LineageFact(Place(edit, 1, index), fact, reverted_by, None, None)


def texts_of(
    here: list[LineageFact], leaving: list[LineageFact], d_in: int = 1000, pins: int = 0, columns: int = 1
) -> TextKeys:
    present = torch.zeros(d_in, pins) if pins else None
    kept = KeptEdit(
        cast(VersionRow, None), tuple(range(columns)), {1: KeptLayer(torch.zeros(d_in, columns), (), present)}
    )
    columns_of = column_of_subject([one for one in here if one.place.edit == EDIT])
    affected = Affected(sorted({columns_of[subject_key(one.fact["subject"])] for one in leaving}))
    return text_keys(TOKENIZER, here, {EDIT: leaving}, {EDIT: affected}, {EDIT: kept}).get(EDIT, TextKeys())


def chosen(here: list[LineageFact], leaving: list[LineageFact], d_in: int = 1000, pins: int = 0) -> list[Prefix]:
    return list(texts_of(here, leaving, d_in, pins).pinned)


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


def test_what_stays_is_held_at_every_token_that_is_not_pinned() -> None:
    out, stays = told(0, "The twin city of {} is", "Lyon"), told(1, "The twin city of {} is", "Wellington")
    gone = told(2, "The twin city of {} is", "Madrid", reverted_by=2)
    found = texts_of([out, stays, gone], [out])
    assert set(found.held) == texts(stays)["all"] - texts(out)["all"]
    assert texts(stays)["onward"] <= set(found.held)


@pytest.mark.parametrize("level", ["all", "onward", "subject"])
def test_fewer_tokens_are_held_where_room_is_less(level: str) -> None:
    """Half of the keys is for the columns, the pinned tokens and the held ones together."""
    out, stays = told(0, "{} is", "Lyon"), told(1, "The mother tongue of {} is", "Toko Yasuda")
    pinned = texts(out)["all"]
    wanted = texts(stays)[level] - pinned
    d_in = 2 * (len(wanted) + len(pinned) + 30)
    assert set(texts_of([out, stays], [out], d_in, columns=30).held) == wanted
    fewer = set(texts_of([out, stays], [out], d_in - 2, columns=30).held)
    assert fewer < wanted
    assert (fewer == set()) == (level == "subject")


def test_what_gets_a_new_value_is_not_held() -> None:
    shared = [told(0, "{} is", "Lyon"), told(1, "{} plays the", "Lyon")]
    here = [*shared, told(2, "{} is located in", "Lyon Madrid")]
    found = texts_of(here, shared[:1])
    assert ids("Lyon") not in found.held
    assert set(found.held) == texts(here[2])["all"] - {ids("Lyon")} - set(found.pinned)


def test_what_other_edits_say_is_held_where_there_is_room() -> None:
    """More texts before more tokens, and none that is not said any more."""
    out, stays = told(0, "{} is", "Lyon"), told(1, "The mother tongue of {} is", "Toko Yasuda")
    elsewhere = told(0, "The twin city of {} is", "Wellington", edit="edit_2")
    gone = told(1, "The twin city of {} is", "Madrid", reverted_by=3, edit="edit_2")
    here = [out, stays, elsewhere, gone]
    own, others = texts(stays), texts(elsewhere)
    for first, second in (("all", "all"), ("all", "onward"), ("all", "subject"), ("onward", "subject")):
        wanted = (own[first] | others[second]) - texts(out)["all"]
        d_in = 2 * (len(wanted) + len(texts(out)["all"]) + 30)
        assert set(texts_of(here, [out], d_in, columns=30).held) == wanted
    corrected = replace(elsewhere, superseded_by=Place("edit_3", 3, 0))
    assert set(texts_of([out, stays, corrected], [out]).held) == own["all"] - texts(out)["all"]
