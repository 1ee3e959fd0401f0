"""Spans of a prompt that may be its subject: what is quoted, and runs of capitalised words.

The console offers subjects by the same rule (console/src/facts/offer.ts); console/src/facts/offer.cases.json holds both
to it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_QUOTED: Final = re.compile(
    r"[“„]([^“”„]+)[”“]|\"([^\"]+)\"|«([^«»]+)»|‘([^‘’]+)’|「([^「」]+)」|『([^『』]+)』|《([^《》]+)》"
)
_WORD: Final = re.compile(r"\w+(?:(?:[-.&/]|['’](?!s\b))\w+)*")
_WITHIN: Final = frozenset(
    ("of", "the", "de", "la", "le", "du", "des", "da", "do", "dos", "di", "del", "della", "van", "von", "der", "den")
)
"""Small words that names have inside them: "University of Oxford"."""
_OPENING: Final = frozenset(
    (
        *("a", "an", "the", "in", "on", "at", "of", "for", "to", "from", "by", "with", "as", "and", "or", "but", "not"),
        *("is", "are", "was", "were", "do", "does", "did", "has", "have", "had", "can", "could", "will", "would", "if"),
        *("what", "who", "whom", "whose", "which", "where", "when", "why", "how", "name", "tell", "should", "may"),
        *("it", "its", "he", "she", "they", "we", "you", "i", "this", "that", "these", "those", "there", "here"),
    )
)
"""Words that are capitalised where a sentence begins, and begin no name."""
_ABBREVIATED: Final = frozenset(("st", "dr", "mr", "mrs", "ms", "jr", "sr", "mt", "ft", "vs"))


class Span(NamedTuple):
    start: int
    text: str


def subject_spans(prompt: str) -> list[Span]:
    """Longest first, and of two that are as long the one that comes first. Numbers belong to the name before them."""
    quoted = [Span(found.start(n), found[n]) for found in _QUOTED.finditer(prompt) for n in (found.lastindex or 0,)]
    inside = [span for one in quoted if (span := _trimmed(prompt, one.start, one.start + len(one.text)))]
    spans = dict.fromkeys([*inside, *_capitalised(prompt)])
    return sorted(spans, key=lambda span: (-len(span.text), span.start))


def _capitalised(prompt: str) -> list[Span]:
    words = list(_WORD.finditer(prompt))
    found: list[Span] = []
    at = 0
    while at < len(words):
        opens = words[at][0].lower() in _OPENING and _begins_sentence(prompt, words[at])
        if opens or not _is_capitalised(words[at][0]):
            at += 1
            continue
        last = ahead = at
        while ahead + 1 < len(words) and _joins(prompt, words[ahead], words[ahead + 1]):
            ahead += 1
            word = words[ahead][0]
            if _is_capitalised(word) or word[0].isdigit():
                last = ahead
            elif word.lower() not in _WITHIN:
                break
        found.append(Span(words[at].start(), prompt[words[at].start() : words[last].end()]))
        at = last + 1
    return found


def _is_capitalised(word: str) -> bool:
    """Somewhere in it: "iPod" is a name."""
    return any(character.isupper() for character in word)


def _joins(prompt: str, word: re.Match[str], following: re.Match[str]) -> bool:
    """Whether only a space stands between two words, or the full stop of an initial or an abbreviation and a space."""
    between = prompt[word.end() : following.start()]
    if between == " ":
        return True
    return between in (". ", ".") and (len(word[0]) == 1 or word[0].lower() in _ABBREVIATED)


def _begins_sentence(prompt: str, word: re.Match[str]) -> bool:
    before = prompt[: word.start()].rstrip(' \t\n"“„«‘(')
    return before == "" or before[-1] in ".?!:"


def _trimmed(text: str, start: int, end: int) -> Span | None:
    inside = text[start:end]
    kept = inside.strip()
    return Span(start + inside.index(kept), kept) if kept else None
