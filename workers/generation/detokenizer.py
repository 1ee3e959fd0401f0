"""Incremental detokenizer: token ids to text; incomplete characters and possible stop strings are held back."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

_CONTEXT = 6
_UNFINISHED = "\ufffd"


class Detokenizer:
    """The text of one choice. `push` gives what can be shown; after `stopped` there is no more.

    Tokens are decoded with a few before them, because many tokenizers write a token at the start of a text without
    its leading space.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int], stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._ids = list(prompt[-_CONTEXT:])
        self._shown_from = 0
        self._read = len(self._ids)
        self._stop = [text for text in stop if text]
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that became certain with `token`."""
        self._ids.append(token)
        before = self._decode(self._ids[self._shown_from : self._read])
        after = self._decode(self._ids[self._shown_from :])
        if after.endswith(_UNFINISHED) and len(self._ids) - self._read < 8:
            return ""
        new_text = after[len(before) :]
        self._shown_from, self._read = max(0, self._read - _CONTEXT), len(self._ids)
        return self._emit(self._held + new_text)

    def finish(self) -> str:
        """What was held back when generation ended for another reason than a stop string."""
        before = self._decode(self._ids[self._shown_from : self._read])
        rest = self._decode(self._ids[self._shown_from :])[len(before) :]
        self._read = len(self._ids)
        if self.stopped:
            return ""
        out = self._emit(self._held + rest)
        held, self._held = self._held, ""
        return out + held

    def _emit(self, text: str) -> str:
        stop_positions = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if stop_positions:
            self.stopped, self._held = True, ""
            return text[: min(stop_positions)]
        held_length = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - held_length :]
        return text[: len(text) - held_length]

    def _decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-length:]):
            return length
    return 0
