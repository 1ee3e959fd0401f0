"""What the tasks of an edit take: values, solve and check, for a batch of a planned number of facts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from api_schemas.facts import Fact
from editing.methods import context_reserve
from editing.methods.method import INVERSE_SECOND_MOMENT
from editing.readings.continuations import CACHE_BUDGET
from editing.readings.scoring import READS_PER_CHUNK, TOKENS_PER_BATCH
from editing.subjects import FactTokens, PromptTokens
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup, TokenizedFact
from editing.values.lower_run import tokens_at_once
from editing.values.memory import (
    ACCELERATOR_SHARE,
    PROCESSOR_BACKWARD,
    PROCESSOR_CONSTANTS,
    backward_bytes,
    constant_bytes,
)
from editing.values.sequences import ValueSequence, sequences_of
from editing.values.upper_run import steps_from
from workers.memory_plan.parts import Part
from workers.memory_plan.request import PlanRequest, square_bytes

PROMPT_TOKENS: Final = 16
"""A fact's prompt, its subject's last token in the middle."""
TARGET_TOKENS: Final = 3
CHAT_OPENING_TOKENS: Final = 32
CHAT_CLOSING_TOKENS: Final = 8
"""What a chat template puts before a user's words and after them."""
_DELTA_BYTES: Final = 4
"""Values are optimised in float32, or finer where the model is."""
_VERSIONS_COMPARED: Final = 2
_LOGIT_COPIES: Final = 3


def editing_parts(request: PlanRequest, left: int) -> Iterator[Part]:
    """`left` are the bytes of the device that everything which stays leaves to a task."""
    place = request.place
    constants, backward = values_bytes(request)
    if request.device.type == "cuda":
        # The optimisation takes shares of what is free, in smaller portions where that is less.
        limits = (int(ACCELERATOR_SHARE * max(0, left)),) * 2
    else:
        limits = (PROCESSOR_CONSTANTS, PROCESSOR_BACKWARD)
    lower = request.activation_bytes(tokens_at_once(request.device))
    size = min(constants, limits[0]) + max(min(backward, limits[1]), lower)
    yield Part("values", place, size, ("values",), f"{request.facts} facts: prefixes and what a step keeps")
    yield Part("solve", place, solve_bytes(request), ("solve",), f"{request.facts} facts in float64")
    yield Part("check", place, check_bytes(request), ("check",), "two versions side by side on the facts and on text")


def values_bytes(request: PlanRequest) -> tuple[int, int]:
    """What is computed once for the planned batch, and what the backward pass of one step keeps, if all groups are
    optimised together."""
    decoder, layer = request.decoder, max(request.settings.layers)
    first_layer = steps_from(decoder, layer)
    contexts = _contexts(request)
    slots = max((len(context.tokens) for context in contexts), default=0)
    sequences = sequences_of([_group(request)], contexts, request.settings.kl_factor)
    delta_bytes = max(_DELTA_BYTES, request.itemsize)

    def backward(sequence: ValueSequence) -> float:
        return backward_bytes(decoder, sequence, layer, first_layer, slots, delta_bytes)

    return (
        int(request.facts * sum(constant_bytes(decoder, sequence, first_layer) for sequence in sequences)),
        int(request.facts * sum(backward(sequence) for sequence in sequences)),
    )


def solve_bytes(request: PlanRequest) -> int:
    """The method's metrics, the batch's factors, Δ of every layer, and what making and measuring a matrix takes."""
    weight = 8 * request.d_in * request.d_out
    keys = 8 * request.facts * (3 * request.d_in + 2 * request.facts)  # K, its whitened columns, and KᵀSK twice
    return (
        _metric_bytes(request)
        + _factor_bytes(request)
        + request.layers * weight
        + max(keys, 4 * weight)  # W, W times C0's factor, Δ and a sum
        + request.version_bytes
    )


def check_bytes(request: PlanRequest) -> int:
    """The version that is checked, what it was solved from, and a batch of readings or of greedy answers."""
    reads = READS_PER_CHUNK * request.decoder.vocabulary * (request.itemsize + _LOGIT_COPIES * 4)
    scoring = request.activation_bytes(TOKENS_PER_BATCH) + reads
    answers = request.facts * _VERSIONS_COMPARED * (PROMPT_TOKENS + CHAT_OPENING_TOKENS + 32) * request.slot_bytes
    return request.version_bytes + _factor_bytes(request) + max(scoring, min(answers, CACHE_BUDGET) + reads)


def _metric_bytes(request: PlanRequest) -> int:
    """What a method's S holds of every layer beside C0, and making one of them."""
    square = square_bytes(request.d_in)
    if not request.reads_second_moment:
        return 0
    # Eigenvectors, with the work space of finding them; or a factor, and C with its ridge.
    working = square if request.algorithm.metric == INVERSE_SECOND_MOMENT else 2 * square
    return request.layers * square + working


def _factor_bytes(request: PlanRequest) -> int:
    """Keys, residuals and factors of Δ, or Δ itself where that is smaller, of every layer, in float64."""
    columns = request.facts * (request.d_in + request.d_out)
    return 8 * request.layers * (columns + min(columns, request.d_in * request.d_out))


def _contexts(request: PlanRequest) -> list[Context]:
    settings = request.settings
    texts = [Context("", (0,) * context_reserve(settings))] * settings.context_texts
    if "chat" not in settings.forms or not request.chat_forms:
        return texts
    share = settings.chat_weight / request.chat_forms
    return texts + [Context("", (0,) * CHAT_OPENING_TOKENS, form, share) for form in range(request.chat_forms)]


def _group(request: PlanRequest) -> SubjectGroup:
    """A group as planned: one fact of usual length."""
    last = PROMPT_TOKENS // 2
    prompt = PromptTokens((0,) * PROMPT_TOKENS, last, (0,) * TARGET_TOKENS)
    chat = PromptTokens((0,) * (PROMPT_TOKENS + CHAT_CLOSING_TOKENS), last, (0,) * TARGET_TOKENS)
    tokens = FactTokens(prompt, prompt, PromptTokens((0,) * (last + 2), last), (chat,) * request.chat_forms)
    fact = Fact(prompt="{} is", subject="a subject", target_new="a target")
    return SubjectGroup(fact.subject, (TokenizedFact(0, fact, tokens),))
