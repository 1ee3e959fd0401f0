"""A model's tokens, without a tokenizer of one's own."""

from __future__ import annotations

from emmetd_client.models.answers import Answer


class Tokenized(Answer):
    """`token_strs` are the tokens' names in the vocabulary, where they were asked for."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class Detokenized(Answer):
    prompt: str


class TokenizerInfo(Answer):
    """The special tokens that the tokenizer has are attributes by their names, such as `eos_token`."""

    model: str
    tokenizer_class: str
    model_max_length: int
    chat_template: str | None = None
