"""Facts of a request: read, and checked against each other and against the model's tokenizer, each with its index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from tokenizers import Tokenizer

from api_schemas.facts import Fact, contradictions
from configuration.settings import Settings
from editing.subjects import FactTokensError, check_prompt_length, unfit_facts
from service.http.bodies import MOST_ELEMENTS
from service.http.fields import FieldErrors, invalid, shown

_CHUNK: Final = 200
"""Facts validated in one go: between two, other requests get their turn."""

_ELEMENTS_OF_A_FACT: Final = 200

_FACTS: Final = TypeAdapter(list[Fact])

NumberedPair = tuple[int, Fact]
"""A fact after its index in the request."""


def most_elements(settings: Settings) -> int:
    """Of a body with facts: a record of CounterFact has about fifty, and the texts' commas count too."""
    return max(MOST_ELEMENTS, _ELEMENTS_OF_A_FACT * settings.max_facts)


def read_facts(values: Any, settings: Settings, errors: FieldErrors) -> list[Fact]:
    """The request's `facts`. What is wrong with single facts is added to `errors`; the result is then incomplete.

    Raises InvalidFieldsError at once where there is no list of facts, or one that is too long to look at.
    """
    return [fact for _, fact in read_numbered(values, settings, errors)]


def read_numbered(values: Any, settings: Settings, errors: FieldErrors) -> list[NumberedPair]:
    """As `read_facts`, each fact with its index in the request."""
    if not isinstance(values, list):
        raise invalid("facts", f"is {shown(values)}; it must be a list of facts")
    if not values:
        raise invalid("facts", "is empty; give at least one fact")
    if len(values) > settings.max_facts:
        raise invalid(
            "facts", f"has {len(values)} facts, at most {settings.max_facts} are taken at once; send several batches"
        )
    facts: list[NumberedPair] = []
    for first in range(0, len(values), _CHUNK):
        facts += _read_chunk(values[first : first + _CHUNK], first, errors)
    for index, fact in facts if not errors.total else ():
        _check_filled(index, fact, errors)
        _check_lengths_of_text(index, fact, settings.max_text_chars, errors)
    return facts


def _read_chunk(values: list[Any], first: int, errors: FieldErrors) -> list[NumberedPair]:
    """Facts that are right in themselves; `errors` has what is wrong with the others."""
    try:
        return list(enumerate(_FACTS.validate_python(values, strict=True), start=first))
    except ValidationError as error:
        if errors.is_full:
            errors.total += error.error_count()
            return []
        wrong = set()
        for detail in error.errors(include_url=False):
            index, *rest = detail["loc"]
            wrong.add(int(index))
            errors.add_one({**detail, "loc": tuple(rest)}, Fact, ("facts", first + int(index)))
    numbers = [number for number in range(len(values)) if number not in wrong]
    right = _FACTS.validate_python([values[number] for number in numbers], strict=True)
    return [(first + number, fact) for number, fact in zip(numbers, right, strict=True)]


def check_contradictions(facts: Sequence[NumberedPair], errors: FieldErrors) -> None:
    """One prompt and subject cannot have two answers."""
    for one, other in contradictions([fact for _, fact in facts]):
        (earlier, first), (later, second) = facts[one], facts[other]
        errors.add(
            f"facts[{later}].target_new",
            f"{shown(second.target_new)} contradicts facts[{earlier}], which has the same prompt and subject and "
            f"the target {shown(first.target_new)}; keep one of the two",
        )


def placed(facts: Sequence[NumberedPair], tokenizer: Tokenizer, context_length: int) -> list[NumberedPair]:
    """Facts whose subject was taken from their prompt, with the longest one that `tokenizer` can place.

    One of which it can place none stays as it is, to be refused as any other.
    """

    def fits(fact: Fact) -> bool:
        return not any(error.field == "subject" for _, error in unfit_facts(tokenizer, [fact], context_length))

    found = []
    for index, fact in facts:
        others = fact.with_other_subjects()
        found.append((index, next((one for one in (fact, *others) if fits(one)), fact) if others else fact))
    return found


def check_editable(
    facts: Sequence[NumberedPair], tokenizer: Tokenizer, context_length: int, reserve: int, errors: FieldErrors
) -> None:
    """Whether each fact's subject can be found in its tokens, and whether its prompts fit into the model's context.

    `reserve` tokens are kept for a context text before each prompt.
    """
    for place, error in unfit_facts(tokenizer, [fact for _, fact in facts], context_length, reserve):
        errors.add(f"facts[{facts[place][0]}].{error.field}", error.message)
    _check_measurable(facts, tokenizer, context_length, errors, with_prompt=False)


def check_measurable(facts: list[Fact], tokenizer: Tokenizer, context_length: int) -> FieldErrors:
    """Whether each prompt with its target fits into the model's context."""
    errors = FieldErrors()
    _check_measurable(list(enumerate(facts)), tokenizer, context_length, errors, with_prompt=True)
    return errors


def _check_measurable(
    facts: Sequence[NumberedPair],
    tokenizer: Tokenizer,
    context_length: int,
    errors: FieldErrors,
    *,
    with_prompt: bool,
) -> None:
    for index, fact in facts:
        for field, prompt, targets in _measured(fact, with_prompt):
            # No text has more tokens than bytes, and one that begins all texts: most need no tokenizer to be short.
            if len(prompt.encode()) + max(len(target.encode()) for target in targets) + 2 <= context_length:
                continue
            try:
                check_prompt_length(tokenizer, prompt, tokenizer.encode(prompt).ids, targets, context_length)
            except FactTokensError as error:
                errors.add(f"facts[{index}].{field}", error.message)


def _measured(fact: Fact, with_prompt: bool) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Every text that is measured: its field, the prompt, and the answers that may follow it."""
    targets = [fact.target_new] if fact.target_old is None else [fact.target_new, fact.target_old]
    if with_prompt:
        yield "prompt", fact.text, targets
    for number, paraphrase in enumerate(fact.paraphrases):
        yield f"paraphrases[{number}]", paraphrase, targets
    for number, neighbor in enumerate(fact.neighbors):
        answers = [fact.target_new] if neighbor.target is None else [fact.target_new, neighbor.target]
        yield f"neighbors[{number}].prompt", neighbor.prompt, answers
    for number, question in enumerate(fact.portability):
        wanted = [question.target] if question.target_old is None else [question.target, question.target_old]
        yield f"portability[{number}].prompt", question.prompt, wanted
    for field, prompt in _gone_on_from(fact):
        yield field, prompt, [" "]


def _gone_on_from(fact: Fact) -> Iterator[tuple[str, str]]:
    """Prompts with no answer of their own; something is said after each."""
    yield from ((f"locality[{number}].prompt", one.prompt) for number, one in enumerate(fact.locality))
    yield from ((f"generation_prompts[{number}]", prompt) for number, prompt in enumerate(fact.generation_prompts))


def _check_filled(index: int, fact: Fact, errors: FieldErrors) -> None:
    """Of texts that a model goes on from, none may be empty: it would have no token to begin with. Nor of answers."""
    texts = [(f"paraphrases[{number}]", text) for number, text in enumerate(fact.paraphrases)]
    texts += [(f"neighbors[{number}].prompt", neighbor.prompt) for number, neighbor in enumerate(fact.neighbors)]
    texts += [(f"aliases[{number}]", alias) for number, alias in enumerate(fact.aliases)]
    for number, question in enumerate(fact.portability):
        texts += [
            (f"portability[{number}].prompt", question.prompt),
            (f"portability[{number}].target", question.target),
        ]
        texts += [(f"portability[{number}].aliases[{n}]", alias) for n, alias in enumerate(question.aliases)]
    texts += _gone_on_from(fact)
    for field, text in texts:
        if not text.strip():
            errors.add(f"facts[{index}].{field}", "is empty; leave it out")


def _check_lengths_of_text(index: int, fact: Fact, most: int, errors: FieldErrors) -> None:
    texts = [("prompt", fact.prompt), ("subject", fact.subject), ("target_new", fact.target_new)]
    texts += [("target_old", fact.target_old or "")]
    texts += [(f"paraphrases[{number}]", text) for number, text in enumerate(fact.paraphrases)]
    for number, neighbor in enumerate(fact.neighbors):
        texts += [(f"neighbors[{number}].prompt", neighbor.prompt)]
        texts += [(f"neighbors[{number}].target", neighbor.target or "")]
    texts += [(f"aliases[{number}]", alias) for number, alias in enumerate(fact.aliases)]
    for number, question in enumerate(fact.portability):
        texts += [
            (f"portability[{number}].prompt", question.prompt),
            (f"portability[{number}].target", question.target),
        ]
        texts += [(f"portability[{number}].target_old", question.target_old or "")]
        texts += [(f"portability[{number}].aliases[{n}]", alias) for n, alias in enumerate(question.aliases)]
    texts += _gone_on_from(fact)
    for field, text in texts:
        if len(text) > most:
            errors.add(f"facts[{index}].{field}", f"has {len(text)} characters, at most {most} are taken; shorten it")
