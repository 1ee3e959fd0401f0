"""Facts whose subject is the first token of their prompt: edited after other text, and told of."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from api_schemas.facts import Fact
from api_schemas.metrics import BatchMetrics
from editing.readings.scoring import AnswerScore, Question
from editing.values.contexts import contexts_from_texts
from editing.values.facts import group_by_subject, tokenize_facts
from store.work import events
from tests.support.saved_models import fact, facts
from tests.workers.conftest import SURE, Place


@pytest.fixture
def place(place_of: Callable[..., Place]) -> Place:
    """Of a model whose tokenizer puts no BOS token before a text."""
    return place_of("gpt2")


LOOSE = {"EM": 0.0, "drift": 100.0}
FIRST_TOKEN = {**fact(0), "prompt": "{} is located in", "subject": "W", "paraphrases": []}
"""Nothing stands before its subject, which is one token."""


def test_a_fact_whose_subject_is_its_texts_first_token_is_named_and_not_repaired_in_vain(place: Place) -> None:
    batch = place.edit([fact(1), FIRST_TOKEN, fact(2)], settings={**SURE, "repair_rounds": 2}, thresholds=LOOSE)

    assert batch.state == "succeeded"
    (warning,) = BatchMetrics.model_validate(batch.metrics).warnings
    assert (warning.code, warning.facts) == ("subject_begins_text", [1])
    assert "put words before the subject" in warning.detail
    with place.database.reading() as session:
        told = [event for event in events.after(session, batch.id, 0) if event.kind == "optimising"]
    assert told[0].data["warnings"][0]["facts"] == [1]
    warnings = BatchMetrics.model_validate(place.edit(facts(2)).metrics).warnings
    assert {warning.code for warning in warnings} <= {"line_worn"}


def test_a_rejected_batch_says_which_facts_begin_their_text(place: Place) -> None:
    batch = place.edit([fact(1), FIRST_TOKEN], thresholds={"EM": 1.1})
    assert batch.state == "rejected"
    assert batch.error is not None
    assert batch.error["facts"] == [1]
    assert "Facts 1: the subject is a single token at the very start" in batch.error["detail"]


def test_repair_asks_a_fact_that_begins_its_text_after_each_context(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is edited. Its bare prompt would call for repair for ever."""
    measuring, model = place.loaded.measuring, place.loaded.model
    groups = group_by_subject(tokenize_facts(model.backend_tokenizer, [Fact.model_validate(FIRST_TOKEN)], 160))
    contexts = contexts_from_texts(model.backend_tokenizer, ["Lyon", "The guitar"])
    of_contexts = {context.tokens + groups[0].facts[0].tokens.continued.prompt for context in contexts}
    asked: list[Question] = []

    def answered(_: object, __: object, questions: list[Question], **___: object) -> list[tuple[AnswerScore]]:
        asked.extend(questions)
        return [(AnswerScore(-1.0, question.prompt in of_contexts),) for question in questions]

    monkeypatch.setattr("workers.measuring.score", answered)
    assert measuring.failing_groups({}, groups, contexts) == []
    assert measuring.failing_groups({}, groups, ()) == [0]
    assert {question.prompt for question in asked[:2]} == of_contexts
