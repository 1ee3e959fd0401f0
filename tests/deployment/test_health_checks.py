"""Commands and health checks that the live stack does not run: the workers' own, and Grafana's.

Grafana's program is no package of Debian, PyPI or npm, so its health check asks what stands in for it: the answers that
`/api/health` is documented to give, 200 and, where its database fails, 503.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from cli.supervision.private_redis import PrivateRedis
from tests.deployment import worker_image
from tests.deployment.compose_file import services
from tests.deployment.stack import Stack, wait_until
from tests.support.programs import program
from tests.support.saved_models import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path)
    stack.make_secrets()
    yield stack
    stack.stop()


@pytest.fixture
def elsewhere(database_url: str, redis_server: PrivateRedis) -> dict[str, str]:
    """What the containers reach over their networks."""
    return {"EMMETD_DATABASE_URL": database_url, "EMMETD_REDIS_URL": redis_server.url}


def test_the_workers_of_both_profiles_differ_in_their_image_and_in_what_they_may_use() -> None:
    cpu, cuda = ({**services()[name]} for name in ("worker-cpu", "worker-cuda"))
    for own in ("profiles", "image", "build", "deploy"):
        assert cpu.pop(own) != cuda.pop(own)
    assert cpu == cuda
    assert worker_image.environment("cuda") == {**worker_image.environment("cpu"), "EMMETD_DEVICE": "cuda"}


def test_the_cuda_worker_is_healthy_on_the_processor(stack: Stack, model: Path, elsewhere: dict[str, str]) -> None:
    """Its command and health check as image and file have them, but for the device."""
    assert not stack.is_healthy("worker-cuda")
    stack.start_real_worker("worker-cuda", model, EMMETD_DEVICE="cpu", **elsewhere)
    stack.wait_until_healthy("worker-cuda")
    wait_until(lambda: "worker ready" in stack.log("worker-cuda"), lambda: stack.log("worker-cuda"))
    assert stack.is_healthy("worker-cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_the_cuda_worker_without_a_gpu_says_so_and_ends(stack: Stack, model: Path, elsewhere: dict[str, str]) -> None:
    stack.start_real_worker("worker-cuda", model, **elsewhere)
    assert stack.processes["worker-cuda"].wait(60) != 0
    said = stack.log("worker-cuda")
    assert "device = 'cuda': PyTorch" in said
    assert "sees 0 devices of that kind here" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_grafanas_health_check_tells_its_answers_apart(stack: Stack, status: int, healthy: bool) -> None:
    class Grafana(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/api/health" else 404)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    program("wget")
    assert not stack.is_healthy("grafana"), "nobody listens there"
    with ThreadingHTTPServer(("127.0.0.1", 0), Grafana) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.ports["grafana"] = server.server_port
        assert stack.is_healthy("grafana") is healthy
        server.shutdown()
