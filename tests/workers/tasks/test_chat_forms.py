"""An edit holds in conversation: what a worker optimises, checks and takes back includes the model's chat template."""

from __future__ import annotations

import pytest
import torch

from api_schemas.facts import Fact
from editing.readings.scoring import Question, score
from editing.subjects import ChatForm, fact_tokens
from editing.values.chat_forms import INSTRUCTIONS, chat_forms
from editing.values.contexts import contexts_of
from editing.values.facts import group_by_subject, tokenize_facts
from tests.support.saved_models import facts
from tests.workers.conftest import SURE, Place
from tests.workers.reverting.test_revert import ANY, revert

TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ 'Lyon. ' + message['content'] }}"
    "{% else %}{{ ' is ' + message['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %} is{% endif %}"
)
"""In words that the tiny model knows, so that its answers can be moved."""


@pytest.fixture
def chatting(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(place.loaded.model.tokenizer, "chat_template", TEMPLATE)
    return place


def said_in(place: Place, number: int, forms: tuple[ChatForm, ...], of: list[dict[str, object]]) -> list[bool]:
    """Whether the version says each fact in each of `forms`, token by token, read in one piece."""
    tokenizer, decoder = place.loaded.model.backend_tokenizer, place.loaded.model.decoder
    questions = []
    for fact in (Fact.model_validate(one) for one in of):
        for form, tokens in zip(forms, fact_tokens(tokenizer, fact, forms).chat, strict=True):
            whole = tokenizer.encode(form.before + fact.text + form.after, add_special_tokens=False).ids
            questions.append(Question(tuple(whole), (tokens.target,)))
    return [answer.said for (answer,) in score(decoder, place.cache().get(number), questions)]


def test_the_forms_are_what_the_template_puts_around_a_users_words(chatting: Place) -> None:
    tokenizer = chatting.loaded.model.tokenizer
    assert chat_forms(tokenizer) == tuple(ChatForm(f"Lyon. {instruction}", " is", " ") for instruction in INSTRUCTIONS)
    tokenizer.chat_template = "{{ raise_exception('not this') }}"
    assert chat_forms(tokenizer) == ()
    tokenizer.chat_template = "{{ messages[0]['content'] }}{{ messages[0]['content'] }}"
    assert chat_forms(tokenizer) == ()
    tokenizer.chat_template = None
    assert chat_forms(tokenizer) == ()


def test_an_edit_of_a_chat_model_is_said_in_conversation(chatting: Place) -> None:
    forms, of = chat_forms(chatting.loaded.model.tokenizer), facts(4)
    batch = chatting.edit(of, settings=SURE, thresholds=ANY)
    assert batch.version is not None, batch.error
    assert batch.settings["forms"] == ["bare", "context", "chat"]
    assert all(said_in(chatting, batch.version, forms, of))
    kept = chatting.version(batch.version).provenance["chat_forms"]
    assert kept == [[form.before, form.after, form.lead] for form in forms]

    without = chatting.edit(of, settings={**SURE, "forms": ["bare", "context"]}, thresholds=ANY, reference="tiny@v0")
    assert without.version is not None, without.error
    assert chatting.version(without.version).provenance["chat_forms"] == []
    assert sum(said_in(chatting, without.version, forms, of)) < 8


def test_repair_listens_to_the_chat_forms_too(chatting: Place) -> None:
    """What the bare prompts alone would let pass is found where it is asked in conversation."""
    batch = chatting.edit(facts(4), settings={**SURE, "repair_rounds": 0}, thresholds=ANY)
    assert batch.version is not None
    matrices = chatting.cache().get(batch.version)
    forms = chat_forms(chatting.loaded.model.tokenizer)
    tokenizer = chatting.loaded.model.backend_tokenizer
    groups = group_by_subject(
        tokenize_facts(tokenizer, [Fact.model_validate(one) for one in facts(4)], 160, chat_forms=forms)
    )
    contexts = contexts_of(tokenizer, (), forms, 0.4)
    measuring = chatting.loaded.measuring
    assert measuring.failing_groups(matrices, groups, contexts) == []
    without = chatting.edit(facts(4), settings={**SURE, "forms": ["bare"]}, thresholds=ANY, reference="tiny@v0")
    assert without.version is not None
    bare_only = chatting.cache().get(without.version)
    assert measuring.failing_groups(bare_only, groups, ()) == []
    assert measuring.failing_groups(bare_only, groups, contexts) != []


def test_a_fact_leaves_conversation_as_well(chatting: Place) -> None:
    of = facts(4)
    batch = chatting.edit(of, settings=SURE, thresholds=ANY)
    assert batch.version is not None, batch.error
    taken = revert(chatting, 0, of=batch.version)
    assert taken.version is not None, taken.error
    forms = chat_forms(chatting.loaded.model.tokenizer)
    said = torch.tensor(said_in(chatting, taken.version, forms, of)).view(4, len(forms))
    assert not said[0].any()
    assert said[1:].float().mean() >= 0.8
