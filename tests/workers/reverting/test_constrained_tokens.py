"""Which tokens a revert pins: as many as there is room for, and none that a fact which stays is said by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import pytest
import torch

from api_schemas.facts import Fact, subject_key
from editing.solve.reverting import RemainingLayer
from editing.values.answer_keys import TokenPrefix, answer_tokens
from store.lineage.facts_in_force import LineageFact, Place
from store.schema.tables import VersionRow
from tests.support.tiny_models import tiny_tokenizer
from workers.reverting.affected_edits import AffectedEdit
from workers.reverting.constrained_tokens import ConstrainedTokens, constrained_tokens, facts_of_leaving_subjects
from workers.reverting.remaining_edit import RemainingEdit, column_of_subject

TOKENIZER = tiny_tokenizer(bos=True)
EDIT = "edit_1"


def reverted_facts(
    index: int, prompt: str, subject: str, reverted_by: int | None = None, new: str = "Spain", edit: str = EDIT
) -> LineageFact:
    fact = {"prompt": prompt, "subject": subject, "target_new": new, "target_old": "New Zealand"}
    return LineageFact(Place(edit, 1, index), fact, reverted_by, None, None)


def texts_of(
    in_lineage: list[LineageFact], leaving: list[LineageFact], d_in: int = 1000, pins: int = 0, columns: int = 1
) -> ConstrainedTokens:
    present = torch.zeros(d_in, pins) if pins else None
    kept = RemainingEdit(
        cast(VersionRow, None), tuple(range(columns)), {1: RemainingLayer(torch.zeros(d_in, columns), (), present)}
    )
    columns_of = column_of_subject([one for one in in_lineage if one.place.edit == EDIT])
    affected = AffectedEdit(sorted({columns_of[subject_key(one.fact["subject"])] for one in leaving}))
    return constrained_tokens(TOKENIZER, in_lineage, {EDIT: leaving}, {EDIT: affected}, {EDIT: kept}).get(
        EDIT, ConstrainedTokens()
    )


def chosen(
    in_lineage: list[LineageFact], leaving: list[LineageFact], d_in: int = 1000, pins: int = 0
) -> list[TokenPrefix]:
    return list(texts_of(in_lineage, leaving, d_in, pins).pinned)


def ids(text: str) -> TokenPrefix:
    return tuple(TOKENIZER.encode(text).ids)


def texts(of: LineageFact) -> Mapping[str, set[TokenPrefix]]:
    found = answer_tokens(TOKENIZER, Fact.model_validate(of.fact))
    return {
        "all": set(found.prefixes()),
        "onward": set(found.prefixes(found.subject_last)),
        "subject": {found.subject},
    }


def test_every_token_of_prompt_and_answers_where_there_is_room() -> None:
    leaving_columns, stays = (
        reverted_facts(0, "The twin city of {} is", "Lyon"),
        reverted_facts(1, "The twin city of {} is", "Wellington"),
    )
    assert set(chosen([leaving_columns, stays], [leaving_columns])) == texts(leaving_columns)["all"]


@pytest.mark.parametrize("level", ["all", "onward", "subject"])
def test_fewer_tokens_where_room_is_less(level: str) -> None:
    leaving_columns, stays = (
        reverted_facts(0, "The mother tongue of {} is", "Toko Yasuda"),
        reverted_facts(1, "{} is", "Wellington"),
    )
    wanted = texts(leaving_columns)[level]
    room = len(wanted)
    assert set(chosen([leaving_columns, stays], [leaving_columns], d_in=4 * room)) == wanted
    assert set(chosen([leaving_columns, stays], [leaving_columns], d_in=4 * (room + 10), pins=10)) == wanted
    fewer = chosen([leaving_columns, stays], [leaving_columns], d_in=4 * (room - 1))
    assert set(fewer) < wanted
    assert (fewer == []) == (level == "subject")


def test_the_key_of_a_fact_that_stays_is_left_out() -> None:
    leaving_columns, stays = (
        reverted_facts(0, "{} is located in", "Lyon Madrid"),
        reverted_facts(1, "{} plays the", "Lyon"),
    )
    found = set(chosen([leaving_columns, stays], [leaving_columns]))
    assert ids("Lyon") not in found
    assert found == texts(leaving_columns)["all"] - {ids("Lyon")}
    gone = reverted_facts(1, "{} plays the", "Lyon", reverted_by=2)
    other = reverted_facts(2, "{} plays the", "Wellington")
    assert set(chosen([leaving_columns, gone, other], [leaving_columns])) == texts(leaving_columns)["all"]


def test_nothing_is_pinned_where_nothing_stays() -> None:
    leaving_columns, gone = (
        reverted_facts(0, "The twin city of {} is", "Lyon"),
        reverted_facts(1, "{} is", "Wellington", reverted_by=2),
    )
    assert chosen([leaving_columns, gone], [leaving_columns]) == []


def test_what_shares_a_subject_with_a_fact_that_stays_is_not_pinned() -> None:
    in_lineage = [
        reverted_facts(0, "{} is", "Lyon"),
        reverted_facts(1, "{} plays the", "Lyon"),
        reverted_facts(2, "{} is", "Toko Yasuda"),
    ]
    affected = {EDIT: AffectedEdit(leaving_columns=[0, 1], reoptimised={0: [1]})}
    assert facts_of_leaving_subjects(in_lineage, [in_lineage[0], in_lineage[2]], affected) == {EDIT: [in_lineage[2]]}


def test_what_stays_is_held_at_every_token_that_is_not_pinned() -> None:
    leaving_columns, stays = (
        reverted_facts(0, "The twin city of {} is", "Lyon"),
        reverted_facts(1, "The twin city of {} is", "Wellington"),
    )
    gone = reverted_facts(2, "The twin city of {} is", "Madrid", reverted_by=2)
    found = texts_of([leaving_columns, stays, gone], [leaving_columns])
    assert set(found.held) == texts(stays)["all"] - texts(leaving_columns)["all"]
    assert texts(stays)["onward"] <= set(found.held)


@pytest.mark.parametrize("level", ["all", "onward", "subject"])
def test_fewer_tokens_are_held_where_room_is_less(level: str) -> None:
    """Half of the keys is for the columns, the pinned tokens and the held ones together."""
    leaving_columns, stays = (
        reverted_facts(0, "{} is", "Lyon"),
        reverted_facts(1, "The mother tongue of {} is", "Toko Yasuda"),
    )
    pinned = texts(leaving_columns)["all"]
    wanted = texts(stays)[level] - pinned
    d_in = 2 * (len(wanted) + len(pinned) + 30)
    assert set(texts_of([leaving_columns, stays], [leaving_columns], d_in, columns=30).held) == wanted
    fewer = set(texts_of([leaving_columns, stays], [leaving_columns], d_in - 2, columns=30).held)
    assert fewer < wanted
    assert (fewer == set()) == (level == "subject")


def test_what_gets_a_new_value_is_not_held() -> None:
    shared = [reverted_facts(0, "{} is", "Lyon"), reverted_facts(1, "{} plays the", "Lyon")]
    in_lineage = [*shared, reverted_facts(2, "{} is located in", "Lyon Madrid")]
    found = texts_of(in_lineage, shared[:1])
    assert ids("Lyon") not in found.held
    assert set(found.held) == texts(in_lineage[2])["all"] - {ids("Lyon")} - set(found.pinned)


def test_what_other_edits_say_is_held_where_there_is_room() -> None:
    """More texts before more tokens, and none that is not said any more."""
    leaving_columns, stays = (
        reverted_facts(0, "{} is", "Lyon"),
        reverted_facts(1, "The mother tongue of {} is", "Toko Yasuda"),
    )
    elsewhere = reverted_facts(0, "The twin city of {} is", "Wellington", edit="edit_2")
    gone = reverted_facts(1, "The twin city of {} is", "Madrid", reverted_by=3, edit="edit_2")
    in_lineage = [leaving_columns, stays, elsewhere, gone]
    own, others = texts(stays), texts(elsewhere)
    for first, second in (("all", "all"), ("all", "onward"), ("all", "subject"), ("onward", "subject")):
        wanted = (own[first] | others[second]) - texts(leaving_columns)["all"]
        d_in = 2 * (len(wanted) + len(texts(leaving_columns)["all"]) + 30)
        assert set(texts_of(in_lineage, [leaving_columns], d_in, columns=30).held) == wanted
    corrected = replace(elsewhere, superseded_by=Place("edit_3", 3, 0))
    assert (
        set(texts_of([leaving_columns, stays, corrected], [leaving_columns]).held)
        == own["all"] - texts(leaving_columns)["all"]
    )
