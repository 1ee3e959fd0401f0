"""Facts in tokens, groups by subject, shards by cost."""

from __future__ import annotations

import pytest

from api_schemas.facts import Fact
from editing.errors import FactLengthError, SubjectNotFoundError
from editing.values.facts import (
    cut_shards,
    group_by_subject,
    tokenize_facts,
    tokenize_fitting,
    tokens_once,
    tokens_per_step,
)
from tests.support.tiny_models import FACTS, tiny_groups, tiny_tokenizer


def test_facts_about_one_subject_are_one_group_in_order_of_appearance() -> None:
    facts = (
        FACTS[0],
        FACTS[1],
        Fact(prompt="{} lives in", subject="Danielle  Darrieux ", target_new="Lyon"),
        Fact(prompt="{} lives in", subject="danielle darrieux", target_new="Lyon"),
    )
    groups = tiny_groups(tiny_tokenizer(), facts)
    assert [[fact.index for fact in group.facts] for group in groups] == [[0, 2], [1], [3]]
    assert groups[0].subject == "Danielle Darrieux"


def test_a_refusal_names_the_fact_by_its_place_in_the_batch() -> None:
    tokenizer = tiny_tokenizer(lines=["Highly, Highly, Highly, Highly,"])
    with pytest.raises(SubjectNotFoundError) as refused:
        tokenize_facts(tokenizer, [FACTS[0], Fact(prompt="{}ly is", subject="High", target_new="x")], 96)
    assert (refused.value.index, refused.value.field) == (1, "subject")
    with pytest.raises(FactLengthError) as refused_length:
        tokenize_facts(tokenizer, [FACTS[0]], context_length=5)
    assert (refused_length.value.index, refused_length.value.field) == (0, "prompt")


def test_facts_that_do_not_fit_may_be_left_out_and_the_others_keep_their_places() -> None:
    tokenizer = tiny_tokenizer(lines=["Highly, Highly, Highly, Highly,"])
    facts = [Fact(prompt="{}ly is", subject="High", target_new="x"), *FACTS]
    fitting = tokenize_fitting(tokenizer, facts, 96)
    assert [(fact.index, fact.fact, fact.tokens) for fact in fitting] == [
        (fact.index + 1, fact.fact, fact.tokens) for fact in tokenize_facts(tokenizer, FACTS, 96)
    ]
    assert tokenize_fitting(tokenizer, facts, context_length=5) == ()


def test_shards_hold_every_group_once_and_cost_alike() -> None:
    tokenizer = tiny_tokenizer()
    facts = [Fact(prompt="The city {}" + " is" * (n % 7), subject=f"Lyon {n}", target_new="x") for n in range(60)]
    groups = group_by_subject(tokenize_facts(tokenizer, facts, 96))
    costs = [tokens_per_step(group, contexts=3) for group in groups]
    shards = cut_shards(groups, contexts=3, tokens=sum(costs) // 4 + 1, steps=1_000_000)
    assert sorted(number for shard in shards for number in shard) == list(range(60))
    sums = [sum(costs[number] for number in shard) for shard in shards]
    assert len(shards) == 4
    assert max(sums) - min(sums) <= 2 * max(costs)


def test_what_runs_before_the_first_step_counts_for_long_prompts() -> None:
    """Words before the subject run once, those after it in each step."""
    tokenizer = tiny_tokenizer()
    before = [Fact(prompt="is " * 60 + "the {}", subject=f"Lyon {n}", target_new="x") for n in range(20)]
    short = [Fact(prompt="the {}", subject=f"Lyon {n}", target_new="x") for n in range(20)]
    long, brief = (group_by_subject(tokenize_facts(tokenizer, facts, 200)) for facts in (before, short))
    assert [tokens_per_step(group, 3) for group in long] == [tokens_per_step(group, 3) for group in brief]
    tokens = sum(tokens_per_step(group, 3) for group in brief)

    assert len(cut_shards(brief, 3, tokens, steps=12)) <= 2
    shards = cut_shards(long, 3, tokens, steps=12)
    once = sum(tokens_once(group, 3) for group in long)
    assert len(shards) == -(-(tokens + once / 12) // tokens) >= 3
    assert len(cut_shards(long, 3, tokens, steps=1_000_000)) <= 2


def test_a_group_over_the_limit_is_a_shard_of_its_own() -> None:
    groups = tiny_groups(tiny_tokenizer())
    assert sorted(cut_shards(groups, contexts=5, tokens=1, steps=12)) == [(n,) for n in range(len(groups))]
