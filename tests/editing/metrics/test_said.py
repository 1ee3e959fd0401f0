"""What is said, zsRE's token accuracy, magnitudes and fluency: against one prompt at a time on the merged model."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedTokenizerFast

from api_schemas.facts import Fact, LocalityPrompt, Neighbor, PortabilityQuestion
from editing.errors import FactLengthError
from editing.metrics import METRICS
from editing.metrics.evaluation import Evaluation, evaluate, evaluate_versions
from editing.metrics.generation_entropy import GENERATION_PROMPTS, n_gram_entropy
from editing.model.decoder import Decoder
from editing.model.projection import Matrices
from editing.values.chat_forms import chat_forms
from tests.editing.test_subjects import metaspace
from tests.support import plain
from tests.support.tiny_models import tiny_model, tiny_tokenizer

TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
STOP = 1
FACTS = (
    Fact(
        prompt="The mother tongue of {} is",
        subject="Danielle Darrieux",
        target_new="English",
        target_old="French",
        aliases=["French or English"],
        paraphrases=["Danielle Darrieux is", "The language of Danielle Darrieux is "],
        neighbors=[
            Neighbor(prompt="The mother tongue of Toko Yasuda is", target="French"),
            Neighbor(prompt="Lyon is located in", target="New Zealand"),
            Neighbor(prompt="Lyon is", target=None),
        ],
        portability=[
            PortabilityQuestion(prompt="Danielle Darrieux is located in", target="English", target_old="Spain"),
            PortabilityQuestion(prompt="Danielle Darrieux is located in", target="Spain", target_old="English"),
            PortabilityQuestion(
                prompt="Toko Yasuda is located in", target="Spain", target_old="English", aliases=["New Zealand"]
            ),
        ],
        locality=[LocalityPrompt(prompt="Toko Yasuda plays the"), LocalityPrompt(prompt="Lyon is located in")],
        generation_prompts=["Danielle Darrieux", "The language of Danielle Darrieux"],
    ),
    Fact(prompt="{} plays the", subject="Toko Yasuda", target_new="piano", target_old="guitar", aliases=["guitar"]),
    Fact(
        prompt="The twin city of {} is",
        subject="Lyon",
        target_new="Wellington",
        paraphrases=["Lyon and"],
        locality=[LocalityPrompt(prompt="The twin city of Lyon")],
        generation_prompts=["Lyon"],
    ),
)
TAUGHT = (
    ("The mother tongue of Danielle Darrieux is", " English"),
    ("Danielle Darrieux is", " located in English"),
    ("Toko Yasuda plays the", " guitar"),
    ("The mother tongue of Toko Yasuda is", " French"),
    ("Lyon and", " Wellington"),
    ("[user] The twin city of Lyon is\n[assistant]", " Wellington"),
    ("Danielle Darrieux is located in", " English"),
)
TOKENIZERS = {"byte level": tiny_tokenizer, "with BOS": lambda: tiny_tokenizer(bos=True), "metaspace": metaspace}
NAMES = ("GA", "GA_paraphrase", "GA_chat", "portability", "portability_ES", "locality")
SCORED = (
    "ES_magnitude",
    "PS_magnitude",
    "NS_magnitude",
    "zsRE_efficacy",
    "zsRE_paraphrase",
    "zsRE_specificity",
    "zsRE_neighborhood",
)


def model_of(name: str) -> nn.Module:
    model: Any = tiny_model(name)
    model.generation_config.eos_token_id = STOP
    return model  # type: ignore[no-any-return]


def with_template(tokenizer: Tokenizer, template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template)


@functools.cache
def taught(name: str, kind: str) -> Matrices:
    """An edit after which some of what is asked is said and some is not, so that no metric is trivial."""
    tokenizer = TOKENIZERS[kind]()
    model = model_of(name).requires_grad_(False)
    weight = plain.projection_of(model, 3).weight.requires_grad_(True)
    optimizer = torch.optim.Adam([weight], lr=0.03)
    texts = [(tokenizer.encode(prompt).ids, tokenizer.encode(prompt + answer).ids) for prompt, answer in TAUGHT]
    # All texts in one run of the model: nothing looks at what is padded behind them.
    longest = max(len(whole) for _, whole in texts)
    rows = torch.tensor([whole + [0] * (longest - len(whole)) for _, whole in texts])
    for _ in range(60):
        loss = torch.zeros((), dtype=weight.dtype)
        for logits, (prompt, whole) in zip(model(rows).logits, texts, strict=True):
            read = logits[len(prompt) - 1 : len(whole) - 1]
            loss = loss + nn.functional.cross_entropy(read, torch.tensor(whole[len(prompt) :]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {3: weight.detach()}


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def contains(text: str, answers: Sequence[str], old: str | None) -> float:
    """As a person would look: word by word."""

    def place(wanted: str) -> int:
        said, phrase = words(text), words(wanted)
        return next((n for n in range(len(said)) if said[n : n + len(phrase)] == phrase), 10**6)

    first = min(place(answer) for answer in answers)
    before = 10**6 if old is None or old in answers else place(old)
    return float(first < 10**6 and first <= before)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


class Plain:
    """The metrics as docs/mathematics.md defines them, one prompt at a time."""

    def __init__(self, model: nn.Module, base: nn.Module, tokenizer: Tokenizer) -> None:
        self.model, self.base, self.tokenizer = model, base, tokenizer

    def says(self, prompt: str, length: int, model: nn.Module | None = None, special: bool = True) -> str:
        ids = self.tokenizer.encode(prompt, add_special_tokens=special).ids
        said = plain.greedy(model or self.model, ids, min(length, 96 - len(ids)), stop=[STOP])
        return str(self.tokenizer.decode(said))

    def forced(self, prompt: str, target: str, model: nn.Module | None = None) -> tuple[list[int], list[int], float]:
        """The target's tokens, the argmax in each one's place, and P."""
        before = self.tokenizer.encode(prompt).ids
        whole = self.tokenizer.encode(prompt + ("" if prompt.endswith(" ") else " ") + target).ids
        if whole[: len(before)] != before:
            joint = ("" if prompt.endswith(" ") else " ") + target
            whole = before + self.tokenizer.encode(joint, add_special_tokens=False).ids
        answer = whole[len(before) :]
        with torch.no_grad():
            logits = (model or self.model)(torch.tensor([whole])).logits[0, len(before) - 1 : -1].double()
        log_p = torch.log_softmax(logits, -1)[range(len(answer)), answer]
        return answer, logits.argmax(-1).tolist(), math.exp(float(log_p.mean()))

    def accuracy(self, prompt: str, target: str) -> float:
        answer, best, _ = self.forced(prompt, target)
        return mean([float(one == other) for one, other in zip(answer, best, strict=True)])

    def kept(self, prompt: str, target: str) -> float:
        now, was = self.forced(prompt, target)[1], self.forced(prompt, target, self.base)[1]
        return mean([float(one == other) for one, other in zip(now, was, strict=True)])

    def difference(self, prompt: str, one: str, other: str) -> float:
        return self.forced(prompt, one)[2] - self.forced(prompt, other)[2]

    def said(self, fact: Fact) -> dict[str, list[float]]:
        answers = [fact.target_new, *fact.aliases]
        wordings = [f"[user] {fact.text}\n[assistant]", f"[user] Complete this sentence: {fact.text}\n[assistant]"]
        return {
            "GA": [float(any(self.says(fact.text, 32).lower().strip().startswith(one.lower()) for one in answers))],
            "GA_paraphrase": [contains(self.says(text, 32), answers, fact.target_old) for text in fact.paraphrases],
            "GA_chat": [contains(self.says(text, 32, special=False), answers, fact.target_old) for text in wordings],
            "portability": [
                contains(self.says(one.prompt, 32), [one.target, *one.aliases], one.target_old)
                for one in fact.portability
            ],
            "portability_ES": [
                float(self.difference(one.prompt, one.target, one.target_old) > 0)
                for one in fact.portability
                if one.target_old is not None
            ],
            "locality": [
                float(self.says(one.prompt, 16) == self.says(one.prompt, 16, self.base)) for one in fact.locality
            ],
        }

    def scored(self, fact: Fact) -> dict[str, list[float]]:
        new, old = fact.target_new, fact.target_old
        answered = [one for one in fact.neighbors if one.target is not None]
        return {
            "ES_magnitude": [] if old is None else [self.difference(fact.text, new, old)],
            "PS_magnitude": [] if old is None else [self.difference(text, new, old) for text in fact.paraphrases],
            "NS_magnitude": [self.difference(one.prompt, one.target or "", new) for one in answered],
            "zsRE_efficacy": [self.accuracy(fact.text, new)],
            "zsRE_paraphrase": [self.accuracy(text, new) for text in fact.paraphrases],
            "zsRE_specificity": [self.kept(one.prompt, one.target or "") for one in answered],
            "zsRE_neighborhood": [self.accuracy(one.prompt, one.target or "") for one in answered],
        }


def hold(found: Evaluation, expected: Sequence[dict[str, list[float]]]) -> dict[str, set[float]]:
    """Every fact's value and the mean are those expected; gives the values seen of each metric."""
    seen: dict[str, set[float]] = {}
    for name in found.metrics:
        values = [mean(of_fact[name]) if of_fact[name] else None for of_fact in expected]
        for one, other in zip(found.of_facts, values, strict=True):
            assert one[name] == (None if other is None else pytest.approx(other, abs=1e-9)), name
        counted = [value for value in values if value is not None]
        assert found.metrics[name].n == len(counted)
        assert found.metrics[name].value == (pytest.approx(mean(counted), abs=1e-9) if counted else None)
        seen[name] = {value for of_fact in expected for value in of_fact[name]}
    return seen


@pytest.mark.parametrize(("name", "kind"), [("llama", "byte level"), ("gpt2", "with BOS"), ("qwen3", "metaspace")])
def test_every_metric_is_that_of_the_plain_computation(name: str, kind: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    edit = taught(name, kind)
    forms = chat_forms(with_template(tokenizer))
    decoder = Decoder(model_of(name))
    seen: dict[str, set[float]] = {}
    for version in ({}, edit):
        slow = Plain(plain.merged(model_of(name), version), model_of(name), tokenizer)
        found = evaluate(decoder, tokenizer, version, FACTS, [*NAMES, *SCORED], chat_forms=forms)
        for metric, values in hold(found, [slow.said(fact) | slow.scored(fact) for fact in FACTS]).items():
            seen.setdefault(metric, set()).update(values)
        if not version:
            assert found.metrics["locality"].value == found.metrics["zsRE_specificity"].value == 1
    alone = [
        evaluate(decoder, tokenizer, version, FACTS, [*NAMES, *SCORED], chat_forms=forms) for version in ({}, edit)
    ]
    beside = evaluate_versions(decoder, tokenizer, [{}, edit], FACTS, [*NAMES, *SCORED], chat_forms=forms)
    for one, other in zip(alone, beside, strict=True):
        assert [fact.greedy_chat for fact in one.observations.facts] == [
            fact.greedy_chat for fact in other.observations.facts
        ]
        assert {name: found.value for name, found in other.metrics.items()} == pytest.approx(
            {name: found.value for name, found in one.metrics.items()}
        )
    if kind == "byte level":  # the others' vocabularies are too small to be taught all of it
        assert [metric for metric, values in seen.items() if len(values) < 2] == []


def test_texts_are_kept_beside_what_is_made_of_them() -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(model_of("llama"))
    forms = chat_forms(with_template(tokenizer))
    (reading, *_) = evaluate(decoder, tokenizer, {}, FACTS, NAMES, chat_forms=forms).observations.facts
    slow = Plain(model_of("llama"), model_of("llama"), tokenizer)
    assert reading.greedy_paraphrases == tuple(slow.says(text, 32) for text in FACTS[0].paraphrases)
    assert reading.greedy_chat[1] == slow.says(
        f"[user] Complete this sentence: {FACTS[0].text}\n[assistant]", 32, special=False
    )
    assert [one.now for one in reading.locality] == [slow.says(one.prompt, 16) for one in FACTS[0].locality]


def test_another_version_can_be_compared_with() -> None:
    tokenizer, decoder = tiny_tokenizer(), Decoder(model_of("llama"))
    edit = taught("llama", "byte level")
    names = ["locality", "zsRE_specificity"]
    base = evaluate(decoder, tokenizer, {}, FACTS, names, reference=edit)
    assert hold(
        base,
        [
            {name: (slow.said(fact) | slow.scored(fact))[name] for name in names}
            for slow in [Plain(model_of("llama"), plain.merged(model_of("llama"), edit), tokenizer)]
            for fact in FACTS
        ],
    )
    same = evaluate(decoder, tokenizer, edit, FACTS, names, reference=edit)
    assert same.metrics["locality"].value == same.metrics["zsRE_specificity"].value == 1


def test_a_model_without_a_chat_template_is_not_asked_in_conversation() -> None:
    tokenizer = tiny_tokenizer()
    assert chat_forms(with_template(tokenizer, None)) == ()
    assert chat_forms(with_template(tokenizer, "{{ raise_exception('no users here') }}")) == ()
    assert chat_forms(with_template(tokenizer, "{{ messages[0].role }}")) == ()
    found = evaluate(Decoder(model_of("llama")), tokenizer, {}, FACTS, ["GA_chat", "GA"])
    assert (found.metrics["GA_chat"].value, found.metrics["GA_chat"].n) == (None, 0)
    assert found.metrics["GA"].n == 3


def test_a_form_is_what_the_template_puts_around_the_users_words() -> None:
    bare, asked = chat_forms(with_template(tiny_tokenizer()))
    assert (bare.before, bare.after, bare.opening) == ("[user] ", "\n[assistant]", "[user]")
    assert (asked.before, asked.after) == ("[user] Complete this sentence: ", "\n[assistant]")


def test_a_prompt_that_leaves_no_room_in_the_template_is_not_counted_in_conversation() -> None:
    tokenizer = tiny_tokenizer()
    long = Fact(prompt="Lyon is located in " * 10 + "{}", subject="Lyon", target_new="Spain")
    room = 96 - len(tokenizer.encode(long.text).ids)
    assert 0 < room < 60
    forms = chat_forms(with_template(tokenizer, "{{ messages[0].content }}" + " Lyon" * room))
    found = evaluate(Decoder(model_of("llama")), tokenizer, {}, [long, FACTS[1]], ["GA_chat", "GA"], chat_forms=forms)
    assert (found.metrics["GA_chat"].n, found.metrics["GA"].n) == (1, 2)


def test_a_prompt_of_nothing_but_context_is_named() -> None:
    long = LocalityPrompt(prompt="Lyon is " * 60)
    fact = FACTS[1].model_copy(update={"locality": [long]})
    with pytest.raises(FactLengthError, match=r"fact 1: locality\[0\].prompt needs \d+ tokens") as refused:
        evaluate(Decoder(model_of("llama")), tiny_tokenizer(), {}, [FACTS[1], fact], ["locality"])
    assert refused.value.field == "locality[0].prompt"


def test_fluency_from_generation_prompts_is_that_of_whole_texts() -> None:
    tokenizer, decoder = tiny_tokenizer(bos=True), Decoder(tiny_model("llama", torch.float32))
    found = evaluate(decoder, tokenizer, {}, FACTS, ["GE"], seed=3)
    first, without, last = found.observations.facts
    assert (len(first.texts), len(without.texts), len(last.texts)) == (2, 0, 1)
    assert all(text.startswith(prompt) for text, prompt in zip(first.texts, FACTS[0].generation_prompts, strict=True))
    expected = [mean([n_gram_entropy(text) for text in one.texts]) for one in (first, last)]
    measured = found.metrics["GE"]
    assert (measured.n, measured.protocol) == (2, GENERATION_PROMPTS)
    assert measured.value == pytest.approx(mean(expected))
    assert measured.model_dump()["protocol"] == GENERATION_PROMPTS
    assert "protocol" not in found.metrics["GE"].model_copy(update={"protocol": None}).model_dump()
    again = evaluate(decoder, tokenizer, {}, FACTS, ["GE"], seed=3)
    assert again.observations.facts == found.observations.facts


def test_the_metrics_that_need_something_say_so() -> None:
    bare = [Fact(prompt="{} is", subject="Lyon", target_new="French")]
    for name in ("GA_paraphrase", "portability", "portability_ES", "locality", "zsRE_specificity", "PS_magnitude"):
        needs = METRICS[name].needs
        assert needs is not None
        assert not needs.met_by(bare)
        assert needs.met_by(FACTS)
    found = evaluate(Decoder(model_of("llama")), tiny_tokenizer(), {}, bare, [*NAMES, *SCORED])
    assert {name for name, measured in found.metrics.items() if measured.n} == {"GA", "zsRE_efficacy"}
