"""Tokens of texts and texts of tokens. All versions of a model have one tokenizer, and no worker is needed for it."""

from __future__ import annotations

from typing import Final

from api_schemas.references import LATEST, ModelReference
from api_schemas.tokenization import Detokenized, DetokenizeRequest, Tokenized, TokenizeRequest, TokenizerInfo
from service.chat.submission import CONTENT_UNION
from service.chat.template import write_conversation
from service.errors import NoWorkerError
from service.generation.pinning import ServedModel, loaded
from service.http.fields import invalid
from service.models.references import reference_in
from service.resources import Resources
from store.lineage import models
from store.lineage import versions as lineage

UNIONS: Final = {"messages.content": CONTENT_UNION}


def tokenize(resources: Resources, request: TokenizeRequest) -> Tokenized:
    if (request.prompt is None) == (request.messages is None):
        raise invalid("prompt", "and messages: give exactly one of them")
    model = _model(resources, request.model)
    if request.messages is not None:
        text = write_conversation(model, request.messages, begin_answer=request.add_generation_prompt is not False)
        special = request.add_special_tokens is True
    else:
        text = request.prompt or ""
        special = request.add_special_tokens is not False
    encoding = model.tokenizer.encode(text, add_special_tokens=special)
    return Tokenized(
        count=len(encoding.ids),
        max_model_len=model.context_length,
        tokens=encoding.ids,
        token_strs=encoding.tokens if request.return_token_strs else None,
    )


def detokenize(resources: Resources, request: DetokenizeRequest) -> Detokenized:
    tokenizer = _model(resources, request.model).tokenizer
    vocabulary = tokenizer.get_vocab_size(with_added_tokens=True)
    if request.tokens and max(request.tokens) >= vocabulary:
        raise invalid("tokens", f"has the token id {max(request.tokens)}; this model's are 0 to {vocabulary - 1}")
    return Detokenized(prompt=tokenizer.decode(request.tokens, skip_special_tokens=False))


def tokenizer_info(resources: Resources, reference: str | None) -> TokenizerInfo:
    model = _model(resources, reference)
    return TokenizerInfo.model_validate(
        {
            **model.special_tokens,
            "model": model.name,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": model.context_length,
            "chat_template": model.chat_template,
        }
    )


def _model(resources: Resources, text: str | None) -> ServedModel:
    """The model that `text` refers to; where it is left out, the only one that there is."""
    with resources.database.reading() as session:
        if text is None:
            names = [row.name for row in models.all_models(session) if resources.caller.sees(row.name)]
            reference = ModelReference(_only_name(names), alias=LATEST)
        else:
            reference = reference_in(text)
            resources.caller.check_model(reference.name)
        row = models.get(session, reference.name)
        lineage.resolve(session, reference)
    return loaded(resources, row)


def _only_name(names: list[str]) -> str:
    if not names:
        raise NoWorkerError("no worker has registered a model yet; try again shortly")
    if len(names) > 1:
        raise invalid("model", f"is missing, and there are several models; name one of {', '.join(names)}")
    return names[0]
