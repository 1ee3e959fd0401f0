"""Each token as text and as bytes, as log-probabilities name them."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from tokenizers import Tokenizer

_UNFINISHED: Final = "\ufffd"
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


class TokenTexts:
    """A token's text is what it adds to a text; where it is only a part of a character, its name in the vocabulary."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        # Some tokenizers write a token at the start of a text without its leading space: so none is decoded alone.
        self._before = list(tokenizer.encode("a", add_special_tokens=False).ids)
        self._start = len(self._decode(self._before))

    def text(self, token: int) -> str:
        added_text = self._added(token)
        return str(self._tokenizer.id_to_token(token)) if _UNFINISHED in added_text else added_text

    def data(self, token: int) -> list[int] | None:
        """The token's bytes in UTF-8, also of a part of a character; None where the vocabulary does not tell them."""
        added_text = self._added(token)
        if _UNFINISHED not in added_text:
            return list(added_text.encode())
        name = str(self._tokenizer.id_to_token(token))
        if given := _BYTE_TOKEN.fullmatch(name):
            return [int(given[1], 16)]
        known = _byte_of_symbol()
        return [known[symbol] for symbol in name] if all(symbol in known for symbol in name) else None

    def _added(self, token: int) -> str:
        return self._decode([*self._before, token])[self._start :]

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))


@cache
def _byte_of_symbol() -> dict[str, int]:
    """How byte-level vocabularies write bytes: printable ones of Latin-1 as themselves, the others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}
