"""A server of a tiny model, with what an onslaught needs beforehand: versions, an alias, and no limits of keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.running.server import Server
from tests.support.saved_models import facts, save_tiny_model

NAME: Final = "smollm2-135m"
"""That of the default model, which the examples of the OpenAPI document are written for."""
KEY: Final = "open-sesame"
VERSIONS: Final = 2
_CHAT_TEMPLATE: Final = "{{ bos_token }}{% for message in messages %}{{ message.content }}{% endfor %}"


@contextmanager
def tiny_server(folder: Path, **settings: Any) -> Iterator[Server]:
    """Ready, with versions v1 and v2 and the alias `production`."""
    model = save_tiny_model(folder / "model")
    (model / "chat_template.jinja").write_text(_CHAT_TEMPLATE)
    chosen = {
        "api_key": KEY,
        "key_requests_per_minute": 0,
        "key_tokens_per_minute": 0,
        "key_facts_per_day": 0,
        "key_open_batches": 0,
        **settings,
    }
    with Server(model, folder / "data", name=NAME, **chosen) as server:
        for number in range(VERSIONS):
            body = {
                "model": NAME,
                "facts": facts(2, first=2 * number),
                "settings": {"steps": 2, "contexts": 0},
                "thresholds": {"EM": 0.0, "drift": 1e9, "retained": 1.0},
            }
            answer = server.http.post("/v1/edits", json=body).raise_for_status()
            assert server.outcome(answer.json()["id"])["state"] == "succeeded"
        server.http.put(f"/v1/models/{NAME}/aliases/production", json={"version": "v1"}).raise_for_status()
        yield server
