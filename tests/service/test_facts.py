"""The front end's quick check of facts refuses what the worker's own reading of them would refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from api_schemas.facts import Fact
from editing.subjects import FactTokensError, check_length, fact_tokens, unfit_facts
from tests.editing.test_subjects import byte_level, metaspace

CONTEXT_LENGTH, RESERVE = 30, 5
TOKENIZERS = {"byte level": byte_level(), "metaspace": metaspace()}

words = st.sampled_from(["Lyon", "Rome", "the", "capital", "of", "é", "日本", "'s", ",", "is", "in", "ish"])
gaps = st.sampled_from(["", " ", "  "])
texts = st.lists(st.tuples(words, gaps), max_size=6).map(lambda parts: "".join(map("".join, parts)))


@st.composite
def facts(draw: st.DrawFn) -> Fact:
    return Fact(
        prompt=f"{draw(texts)}{{}}{draw(texts)}",
        subject=draw(texts.filter(str.strip)),
        target_new=draw(texts.filter(str.strip)),
    )


def refused_by_the_worker(tokenizer: Tokenizer, fact: Fact) -> str | None:
    try:
        check_length(fact_tokens(tokenizer, fact), CONTEXT_LENGTH, RESERVE)
    except FactTokensError as error:
        return error.field
    return None


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(batch=st.lists(facts(), min_size=1, max_size=4))
def test_the_quick_check_agrees_with_the_worker(kind: str, batch: list[Fact]) -> None:
    tokenizer = TOKENIZERS[kind]

    quick = {index for index, _ in unfit_facts(tokenizer, batch, CONTEXT_LENGTH, RESERVE)}

    assert quick == {index for index, fact in enumerate(batch) if refused_by_the_worker(tokenizer, fact) is not None}
