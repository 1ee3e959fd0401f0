"""What counts as said there, as the same answer, and as a near tie."""

from __future__ import annotations

import math

from api_schemas.facts import Fact
from configuration.redis.generation_messages import TokenInfo
from service.deployments.comparison import (
    MOST_FACTS,
    ORDINARY_PROMPTS,
    TOLERANCE,
    Comparison,
    OwnAnswer,
    Probe,
    compared,
    parting_gap,
    probes,
)
from service.deployments.engine import EngineAnswer


def own(text: str, second_best: float = -0.2) -> OwnAnswer:
    """A token a character; in each place token 1 has the log-probability `second_best`, ours -0.1."""
    return OwnAnswer(
        text, tuple(TokenInfo(id=ord(one), logprob=-0.1, top=[(ord(one), -0.1), (1, second_best)]) for one in text)
    )


def there(text: str, ids: list[int] | None = None) -> EngineAnswer:
    return EngineAnswer(text, tuple([ord(one) for one in text] if ids is None else ids))


def letters(text: str) -> list[int]:
    return [ord(one) for one in text]


def test_facts_come_first_and_no_more_than_twenty() -> None:
    facts = [Fact(prompt="{} is in", subject=f"City {number}", target_new="Peru") for number in range(30)]
    asked = probes(facts)
    assert len(asked) == MOST_FACTS + len(ORDINARY_PROMPTS)
    assert asked[0] == Probe("City 0 is in", ("Peru",))
    assert asked[MOST_FACTS] == Probe(ORDINARY_PROMPTS[0])
    assert len(set(ORDINARY_PROMPTS)) == 20


def characters(text: str) -> list[int]:
    return [ord(one) for one in text]


def test_facts_that_we_do_not_say_are_not_asked_of_the_engine() -> None:
    fact = Probe("x", ("Peru", "the Andes"))
    found = compared(
        [fact] * 4,
        [own(" Peru, where"), own(" peru"), own(" the Andes"), own(" Chile")],
        [there(" Peru or"), there(" Chile"), there(" Peru"), there(" Peru")],
        letters,
    )
    assert (found.facts, found.said) == (3, 2)
    assert not found.passed


def test_an_answer_that_parts_where_two_tokens_are_as_likely_is_a_near_tie() -> None:
    near, far = own("abc", -0.1 - TOLERANCE), own("abc", -0.11 - TOLERANCE)
    other = there("ab?", [ord("a"), ord("b"), 1])
    found = compared([Probe("x")] * 3, [own("abc"), near, far], [there("abc"), other, other], letters)
    assert (found.prompts, found.equal, found.near_ties, found.different) == (3, 1, 1, 1)
    assert math.isclose(parting_gap(near, [ord("a"), 1]), TOLERANCE)
    assert parting_gap(near, [ord("a"), 7]) == math.inf
    assert parting_gap(near, [ord("a"), ord("b")]) == math.inf, "one ends where the other goes on"


def test_where_the_engine_tells_no_tokens_its_text_is_split() -> None:
    other = EngineAnswer("a\x01", None)
    found = compared([Probe("x")], [own("ab")], [other], letters)
    assert found.near_ties == 1


def test_a_tenth_may_differ() -> None:
    def counts(said: int, different: int) -> Comparison:
        return Comparison(facts=20, said=said, prompts=20, equal=20 - different, near_ties=0, different=different)

    assert counts(18, 2).passed
    assert not counts(17, 0).passed
    assert not counts(20, 3).passed
    assert Comparison(facts=1, said=1, prompts=20, equal=20, near_ties=0, different=0).passed
    assert not Comparison(facts=1, said=0, prompts=20, equal=20, near_ties=0, different=0).passed
