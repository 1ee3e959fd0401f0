"""Time and identifiers."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def now() -> datetime:
    """The present, aware, in UTC."""
    return datetime.now(UTC)


def new_id(prefix: str) -> str:
    """`edit_…`: 48 bits of milliseconds, then 80 random bits, in base 32; sorts by time of creation."""
    number = (int(time.time() * 1000) << 80) | secrets.randbits(80)
    digits = []
    for _ in range(26):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return f"{prefix}_{''.join(reversed(digits))}"
