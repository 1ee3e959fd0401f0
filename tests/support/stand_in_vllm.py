"""A vLLM by its LoRA routes and completions, answering as vLLM 0.32 does; what it says is the test's.

Its answers, statuses and words are those that a vLLM started with --enable-lora and
VLLM_ALLOW_RUNTIME_LORA_UPDATING=True gave to the same requests.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Says = Callable[[str, str], tuple[str, list[int]]]
"""(where the files of what is asked lie, prompt) → text and token ids."""
BASE = "base"


class StandInVllm:
    """`says` answers; `adapters` are those loaded, name → path; `requests` what was asked. `max_rank` is its limit."""

    def __init__(self, says: Says, *, key: str | None = None, max_rank: int = 512, loads: bool = True) -> None:
        self.says = says
        self.key = key
        self.max_rank = max_rank
        self.loads = loads
        self.root = "/models/base"
        self.adapters: dict[str, str] = {}
        self.requests: list[tuple[str, str, Any]] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def is_there(self) -> bool:
        return self._server is not None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        stand_in = self

        class Handler(_Handler):
            vllm = stand_in

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """It is away; what was loaded at run time is forgotten with it."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        self.adapters.clear()

    def asked(self, path: str) -> list[Any]:
        """The bodies of requests for `path`."""
        return [body for _, asked, body in self.requests if asked == path]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status, and what is said: a text, or what is written as JSON."""
        self.requests.append((method, path, body))
        if (method, path) == ("GET", "/v1/models"):
            return 200, {"object": "list", "data": self._cards()}
        if (method, path) == ("POST", "/v1/completions"):
            return self._complete(body)
        if self.loads and (method, path) == ("POST", "/v1/load_lora_adapter"):
            return self._load(body)
        if self.loads and (method, path) == ("POST", "/v1/unload_lora_adapter"):
            return self._unload(body)
        return 404, {"detail": "Not Found"}

    def _cards(self) -> list[dict[str, Any]]:
        base = {"id": BASE, "object": "model", "owned_by": "vllm", "root": self.root, "parent": None}
        return [base, *({**base, "id": name, "root": path, "parent": BASE} for name, path in self.adapters.items())]

    def _load(self, body: dict[str, Any]) -> tuple[int, Any]:
        name, path = body["lora_name"], body["lora_path"]
        if name == BASE:
            return _error(400, f"The lora adapter '{name}' conflicts with a served base model.", "InvalidUserInput")
        if not body.get("load_inplace") and name in self.adapters:
            said = f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, set "
            return _error(400, f"{said}'load_inplace' to True.", "InvalidUserInput")
        config = Path(path) / "adapter_config.json"
        if not config.is_file():
            return _error(404, f"Loading lora {name} failed: No adapter found for <path>", "NotFoundError")
        rank = json.loads(config.read_text())["r"]
        if rank > self.max_rank:
            why = f"LoRA rank {rank} is greater than max_lora_rank {self.max_rank}."
            said = f"Call to add_lora method failed: Worker failed with error '{why}', please check the stack trace "
            return _error(500, f"{said}above for the root cause", "InternalServerError")
        self.adapters[name] = path
        return 200, f"Success: LoRA adapter '{name}' added successfully."

    def _unload(self, body: dict[str, Any]) -> tuple[int, Any]:
        name = body["lora_name"]
        if self.adapters.pop(name, None) is None:
            return _error(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError")
        return 200, f"Success: LoRA adapter '{name}' removed successfully."

    def _complete(self, body: dict[str, Any]) -> tuple[int, Any]:
        name = body["model"]
        path = self.root if name == BASE else self.adapters.get(name)
        if path is None:
            return _error(404, f"The model `{name}` does not exist. Valid aliases: {BASE}.", "NotFoundError", "model")
        assert body["temperature"] == 0
        answers = [self.says(path, prompt) for prompt in body["prompt"]]
        choices = [
            {"index": number, "text": text, "finish_reason": "length", "token_ids": ids}
            for number, (text, ids) in enumerate(answers)
        ]
        return 200, {"id": "cmpl-1", "object": "text_completion", "model": name, "choices": choices}


_UNAUTHORISED: Any = {"error": "Unauthorized"}


class _Handler(BaseHTTPRequestHandler):
    vllm: StandInVllm
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def _respond(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        if not self.vllm.is_there:  # over a connection that was kept
            self.close_connection = True
            return
        if self.vllm.key is not None and self.headers.get("Authorization") != f"Bearer {self.vllm.key}":
            status, said = 401, _UNAUTHORISED
        else:
            status, said = self.vllm.answer(self.command, self.path, body)
        content = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(said, str) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _error(status: int, message: str, kind: str, param: str | None = None) -> tuple[int, Any]:
    return status, {"error": {"message": message, "type": kind, "param": param, "code": status}}


def spelled(text: str) -> tuple[str, list[int]]:
    """A text, and a token for each of its characters."""
    return text, [ord(letter) for letter in text]
