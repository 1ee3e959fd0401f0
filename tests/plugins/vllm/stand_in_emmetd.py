"""As much of emmetd as the plugin asks: a model, its versions and aliases, and exports that take a while to be made."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import threading
import zipfile
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

NAME = "smollm2-135m"
BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
FINGERPRINT = "f" * 64
HIDDEN = 576
KEY = "emk_very-secret-key"


def weights(hidden: int = HIDDEN) -> bytes:
    """A safetensors file of one low-rank product."""
    tensors: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in {"lora_A.weight": [8, 4 * hidden], "lora_B.weight": [hidden, 8]}.items():
        size = 4 * shape[0] * shape[1]
        place = [end, end + size]
        tensors[f"base_model.model.model.layers.3.mlp.down_proj.{name}"] = {
            "dtype": "F32",
            "shape": shape,
            "data_offsets": place,
        }
        end += size
    header = json.dumps(tensors).encode()
    return struct.pack("<Q", len(header)) + header + bytes(end)


def adapter_files(version: str = "v7", **about: Any) -> dict[str, bytes]:
    """What emmetd's workers write, by name; the sums are `zipped`'s."""
    told = {"model": NAME, "version": version, "base": BASE, "base_fingerprint": FINGERPRINT, **about}
    return {
        "adapter_config.json": json.dumps({"peft_type": "LORA", "r": 8, "lora_alpha": 8}).encode(),
        "adapter_model.safetensors": weights(),
        "emmetd.json": json.dumps(told).encode(),
        "README.md": f"# {NAME}@{version}\n".encode(),
    }


def zipped(files: Mapping[str, bytes], sums: Mapping[str, bytes] | None = None) -> bytes:
    """An export of `files`, with the sums of `sums` where they shall differ."""
    lines = "".join(f"{hashlib.sha256(one).hexdigest()}  {name}\n" for name, one in (sums or files).items())
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, one in {**files, "SHA256SUMS": lines.encode()}.items():
            archive.writestr(name, one)
    return content.getvalue()


class StandInEmmetd:
    """`exports` are its files by version, `deltas` the hashes of versions, `problems` what it answers instead of files.

    `waits` is how often 202 comes before a file, which is sent once `gate` is set. `asked` has every request, `keys`
    the header Authorization of each.
    """

    def __init__(self) -> None:
        self.family = "llama"
        self.aliases = {"production": "v7", "latest": "v8"}
        self.deltas = {"v7": "7" * 64, "v8": "8" * 64}
        self.exports = {version: zipped(adapter_files(version)) for version in ("v7", "v8")}
        self.problems: dict[str, tuple[int, str, str]] = {}
        self.waits = 0
        self.key: str | None = None
        self.asked: list[str] = []
        self.keys: list[str | None] = []
        self.gate = threading.Event()
        self.gate.set()
        stand_in = self

        class Handler(_Handler):
            emmetd = stand_in

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def downloads(self) -> list[str]:
        """The versions whose exports were asked for, without those that waited."""
        return [path.split("/")[5] for path in self.asked if "/export" in path]

    def answer(self, path: str, key: str | None) -> tuple[int, bytes, dict[str, str]]:
        if self.key is not None and key != f"Bearer {self.key}":
            return problem(401, "unauthorized", f"no API key, or one that is not good: {key}")
        parts = path.partition("?")[0].strip("/").split("/")[2:]
        if parts[0] != NAME:
            return problem(404, "model_not_found", f"there is no model {parts[0]!r}; there is {NAME}")
        if len(parts) == 1:
            return json_answer({"id": NAME, "family": self.family})
        version = self.aliases.get(parts[2], parts[2])
        if version != "v0" and version not in self.deltas:
            return problem(404, "version_not_found", f"there is no {NAME}@{parts[2]}; there are v0 to v8")
        if len(parts) == 3:
            return json_answer({"version": version, "model": NAME, "sha256": self.deltas.get(version)})
        return self._export(version)

    def _export(self, version: str) -> tuple[int, bytes, dict[str, str]]:
        if version in self.problems:
            return problem(*self.problems[version])
        if self.waits > 0:
            self.waits -= 1
            job = {"id": "export_1", "state": "running", "model": f"{NAME}@{version}", "format": "peft"}
            return json_answer(job, 202, {"Retry-After": "0"})
        self.gate.wait()
        return 200, self.exports[version], {"Content-Type": "application/zip", "X-Emmetd-Version": f"{NAME}@{version}"}


class _Handler(BaseHTTPRequestHandler):
    emmetd: StandInEmmetd

    def do_GET(self) -> None:
        key = self.headers.get("Authorization")
        self.emmetd.asked.append(self.path)
        self.emmetd.keys.append(key)
        status, content, headers = self.emmetd.answer(self.path, key)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Not among the tests' output."""


def json_answer(
    body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes, dict[str, str]]:
    return status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})}


def problem(status: int, code: str, detail: str) -> tuple[int, bytes, dict[str, str]]:
    return json_answer({"title": "No", "status": status, "code": code, "detail": detail}, status)
