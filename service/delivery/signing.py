"""Messages as Standard Webhooks has them: what is sent, and what proves from whom (standardwebhooks.com, version 1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

_PREFIX: Final = "whsec_"


def body_of(kind: str, happened_at: datetime, data: Mapping[str, Any]) -> bytes:
    """The same bytes at every attempt: what is signed is what was kept."""
    content = {"type": kind, "timestamp": happened_at.isoformat(), "data": data}
    return json.dumps(content, separators=(",", ":")).encode()


def headers_of(message: str, moment: datetime, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """`webhook-id`, by which a receiver knows a message again; the time of this attempt; a signature by each secret."""
    timestamp = str(int(moment.timestamp()))
    return {
        "webhook-id": message,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signature(secret, message, timestamp, body) for secret in secrets),
    }


def signature(secret: str, message: str, timestamp: str, body: bytes) -> str:
    """v1: HMAC-SHA256 over id, timestamp and body, parted by full stops, in base64."""
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    signed = f"{message}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}"
