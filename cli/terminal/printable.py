"""Text that others wrote, on somebody's terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """What callers wrote, such as a label, does nothing to the terminal of whoever reads it."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def printable_lines(text: str) -> str:
    """The same for text of several lines, as models write it."""
    return "".join(letter if letter in "\n\t" else printable(letter) for letter in text)
