"""What schemathesis cannot know of this API: bodies of one fact on a line, work that shall be short, and which refusals
of what fits the schema are right, each with its reason.

Loaded by schemathesis itself, as `hooks` of schemathesis.toml.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

import schemathesis
from schemathesis import Case, HookContext, Response, SerializationContext
from schemathesis.openapi.checks import RejectedPositiveData

QUICK: Final = {"steps": 1, "contexts": 0, "repair_rounds": 0}
FEW_TOKENS: Final = 200
MOST_TOKENS: Final = 100_000_000
"""The schema's own limit: what is over it stays so, and is refused."""


@schemathesis.serializer("application/x-ndjson")
def one_fact_a_line(context: SerializationContext, value: Any) -> bytes:
    """The document describes one line; a list of facts is sent as that many."""
    lines = value if isinstance(value, list) else [value]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Work that a tiny model has done within a second: otherwise the worker would be busy for days afterwards."""
    body = case.body
    if not isinstance(body, dict):
        return
    if case.operation.label == "POST /v1/edits" and "facts" in body:
        body.setdefault("settings", QUICK)
    if case.operation.label == "POST /v1/statistics":
        tokens = body.get("tokens")
        if tokens is None or (isinstance(tokens, int) and FEW_TOKENS < tokens <= MOST_TOKENS):
            body["tokens"] = FEW_TOKENS


@dataclass(frozen=True)
class Refusal:
    """`says` is what the refusal of `operations` matches; `reason` why no JSON Schema says it."""

    operations: str
    says: str
    reason: str


_FACTS = r"^POST /v1/(edits|evaluations)$"
_EDITS = r"^POST /v1/edits$|/consolidate$"
_TEXT = r"^POST /v1/(chat/)?completions$"
_REVERT = "/revert$"
_TWO_FIELDS = "two fields are looked at together"
_TOKENS = "only the model's tokenizer tells"
_SHAPE = "layers are the model's"

REFUSALS: Final = (
    Refusal(_FACTS, r"^facts\[\d+\]\.subject: .* does not occur in prompt", _TWO_FIELDS),
    Refusal(_FACTS, r"^facts\[\d+\]\.prompt: .* has \{\} more than once", "no pattern can count"),
    Refusal(_FACTS, r"^facts\[\d+\]\.target_new: .* equals target_old", _TWO_FIELDS),
    Refusal(_FACTS, r"^facts\[\d+\]\.target_new: .* contradicts facts", "facts are looked at together"),
    Refusal(_FACTS, r"^facts\[\d+\]\.[\w\[\].]+: is empty", "Unicode has more white space than the \\s of a schema"),
    Refusal(_FACTS, r"^facts\[\d+\]\.[\w\[\].]+: .*(tokens|inside the token)", _TOKENS),
    Refusal(_EDITS, r"^facts: \w+ edits 1 subject at a time", "a method's own limit"),
    Refusal(_EDITS, r"^thresholds\.\w+: .* cannot be measured on this batch", _TWO_FIELDS),
    Refusal(_EDITS, r"^settings\.preset: .* is unknown for", "presets are the method's"),
    Refusal(_EDITS, r"^settings: give mu or mu_relative, not both", _TWO_FIELDS),
    Refusal(_EDITS, r"^settings\.layers: .*the model has layers 0 to", _SHAPE),
    Refusal(_EDITS, r"^model: is missing", "a query parameter that NDJSON needs and JSON does not"),
    Refusal("^POST /v1/evaluations$", r"^(compare_with|facts_of): .* is of another model", _TWO_FIELDS),
    Refusal("^POST /v1/evaluations$", r"^facts: is missing; .* or name in facts_of", _TWO_FIELDS),
    Refusal("^POST /v1/evaluations$", r"^facts_of: stands beside facts", _TWO_FIELDS),
    Refusal("^POST /v1/evaluations$", r"^facts_of: v\d+ says", "what a version says is the store's"),
    Refusal("^POST /v1/evaluations$", r"^sample: is of the facts of a version", _TWO_FIELDS),
    Refusal("^POST /v1/evaluations$", r"^sample: is \d+, and at most", "the server's limit"),
    Refusal(_EDITS, r"^budget\.drift: .* already", "what a line has used is the store's"),
    Refusal("^POST /v1/statistics$", r"^corpus: .* is not configured", "corpora are the operator's"),
    Refusal("^POST /v1/statistics$", r"^layers\[\d+\]: is \d+; the model has layers 0 to", _SHAPE),
    Refusal("^GET .*/export$", r"has rank \d+; in \d+ ranks it would be off", "the rank is the version's"),
    Refusal("^PUT .*/aliases/", r"^body: says nothing to change", _TWO_FIELDS),
    Refusal(
        "^POST /v1/deployments$", r"^target: ", "targets are the operator's, and addresses have rules of their own"
    ),
    Refusal("^POST /v1/models$", r"^(source|revision): ", "what there is, a hub or a disk tells"),
    Refusal("^POST /v1/models$", r"^name: is missing, and", _TWO_FIELDS),
    Refusal("/v1/webhooks", r"^url: ", "addresses are read by more rules than a pattern has, and looked up"),
    Refusal("^POST /v1/keys$", r"^expires_at: .* is past", "time goes on"),
    Refusal("^POST /v1/keys$", r"^models(\[\d+\])?: ", "models are the server's"),
    Refusal(_REVERT, r"^body: names nothing to take out", _TWO_FIELDS),
    Refusal(_REVERT, r"^body: `of` says which version", _TWO_FIELDS),
    Refusal(f"{_EDITS}|{_REVERT}", "Idempotency-Key .* was used", "it depends on an earlier request"),
    Refusal("", r"is not a model reference", "a number of ten digits and more is no version, and no alias either"),
    Refusal("", r"is not a cursor of this list", "cursors are had from the page before"),
    Refusal(_TEXT, r"^stream_options: is given, but stream is not true", _TWO_FIELDS),
    Refusal(
        _TEXT, r"^max_\w+: .*(at most \d+ are|echo is false|give one of them)", "the server's limit, or two fields"
    ),
    Refusal(_TEXT, r"^top_logprobs: is given, but logprobs is not true", _TWO_FIELDS),
    Refusal(_TEXT, r"^best_of: is \d+ and n is", _TWO_FIELDS),
    Refusal(_TEXT, r"^prompt: asks for \d+ choices", _TWO_FIELDS),
    Refusal(_TEXT, r"^(prompt|messages)(\[\d+\])?: .*(token|context)", _TOKENS),
    Refusal(_TEXT, r"^messages: make an empty text", "templates are the model's"),
    Refusal("^POST /tokenize$", r"^prompt: and messages: give exactly one of them", _TWO_FIELDS),
    Refusal("^POST /detokenize$", r"^tokens: has the token id", _TOKENS),
)


@schemathesis.hook
def filter_failure(context: HookContext, failure: Any, case: Case, response: Response) -> bool:
    """Whether it counts: all but right refusals of what fits the schema."""
    if not isinstance(failure, RejectedPositiveData):
        return True
    told = reasons(response)
    return not told or not all(
        any(
            re.search(known.operations, case.operation.label) and re.search(known.says, one, re.DOTALL)
            for known in REFUSALS
        )
        for one in told
    )


def reasons(response: Response) -> list[str]:
    """Every reason that a refusal gives, as "field: what is wrong"."""
    try:
        body = response.json()
    except ValueError:
        return []
    if "error" in body:
        return [body["error"]["message"]]
    if "errors" in body:
        return [f"{one['loc']}: {one['msg']}" for one in body["errors"]]
    return [str(body.get("detail"))]
