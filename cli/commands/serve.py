"""`emmetd serve`: everything on one machine, as supervised child processes: API, worker and, unless `redis_url` is set,
a private queue server.

Each part is the same command that starts it alone elsewhere (`emmetd api`, `migrate`, `worker`) and has its settings
from the environment. This file says what is started in which order; `cli/supervision/` keeps it alive.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import TYPE_CHECKING, Final

from cli.terminal.options import ApiKey, ConfigFile, DataFolder, Host, ModelName, ModelRef, Port, Revision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.supervision.restarts import RestartPolicy
    from configuration.settings import Settings

# -P: the folder that we were started in is no place to import from, it may hold a `cli` of its own.
EMMETD: Final = (sys.executable, "-P", "-m", "cli.main")

_MIGRATION_PATIENCE_SECONDS: Final = 10.0
# How long each part may take to end by itself before it is killed.
_API_STOP_SECONDS: Final = 8.0
_WORKER_STOP_SECONDS: Final = 20.0
_REDIS_STOP_SECONDS: Final = 10.0


def serve(
    model: ModelRef = None,
    model_name: ModelName = None,
    revision: Revision = None,
    data: DataFolder = None,
    host: Host = None,
    port: Port = None,
    api_key: ApiKey = None,
    config: ConfigFile = None,
) -> None:
    """Start the API, one worker and a private queue server, and watch over them.

    \b
    Examples:
      emmetd serve
      emmetd serve --model HuggingFaceTB/SmolLM2-360M-Instruct --port 9000
      EMMETD_API_KEY=change-me emmetd serve --host 0.0.0.0
    """
    from cli.supervision.listener import listen
    from cli.terminal.data_folder import held_data_folder
    from configuration.settings import load_settings

    settings = load_settings(
        model=model,
        model_name=model_name,
        revision=revision,
        data=data,
        host=host,
        port=port,
        api_key=api_key,
        config=config,
    )
    with held_data_folder(settings.data), listen(settings.host, settings.port) as listener:
        asyncio.run(run_all(settings, listener))


async def run_all(
    settings: Settings,
    listener: socket.socket,
    emmetd: Sequence[str] = EMMETD,
    policy: RestartPolicy | None = None,
    migration_patience: float = _MIGRATION_PATIENCE_SECONDS,
) -> None:
    """Start all parts and keep them until a signal; `emmetd` is the command whose `api`, `worker` … are run.

    A migration that takes longer than `migration_patience` seconds does not keep the API from answering.

    Raises `CliError` when a part cannot be started or kept alive.
    """
    from cli.supervision.child import ChildSpec
    from cli.supervision.listener import free_port, url_of
    from cli.supervision.private_redis import prepare_private_redis
    from cli.supervision.readiness import ready_banner, watch_readiness
    from cli.supervision.supervisor import Supervisor

    url = url_of(listener)
    port = int(listener.getsockname()[1])
    needs_key = settings.auth == "on" or settings.api_key is not None
    worker_port = settings.worker_metrics_port or free_port(settings.worker_metrics_host or settings.host, after=port)
    environment = {
        **os.environ,
        **settings.as_environment(),
        "EMMETD_AUTH": "on" if needs_key else "off",
        "EMMETD_PORT": str(port),
        "EMMETD_WORKER_METRICS_PORT": str(worker_port),
    }
    async with Supervisor(announce, policy) as supervisor:
        announce(f"console at {url}/, documents of the API at {url}/docs, once it is ready")
        announce(f"data in {settings.data}")
        if settings.redis_url is None:
            redis = prepare_private_redis(settings.data / "redis")
            announce(f"starting {redis.binary.version} on 127.0.0.1:{redis.port}")
            environment["EMMETD_REDIS_URL"] = redis.url
            spec = ChildSpec("queue server", redis.command, os.environ.copy(), _REDIS_STOP_SECONDS, quiet=True)
            await supervisor.keep(spec, ready=redis.answers)
        # The API inherits the socket, so that clients wait rather than being refused while it is restarted.
        fd = listener.fileno()
        api = ChildSpec("API", [*emmetd, "api", "--fd", str(fd)], environment, _API_STOP_SECONDS, inherited_fds=(fd,))
        api_runs = False

        async def start_api() -> None:
            """Once: during a long migration, or else after the worker."""
            nonlocal api_runs
            if not api_runs:
                announce(f"starting the API at {url}")
                await supervisor.keep(api)
                api_runs = True

        announce("bringing the database up to date")
        migrate = ChildSpec("migrate", [*emmetd, "migrate"], environment)
        # Who asks meanwhile is told by /readyz that the database is away.
        await supervisor.run_once(migrate, migration_patience, meanwhile=start_api)
        name = settings.served_model_name
        announce(f"starting a worker for {name}; its probes and metrics are on port {worker_port}")
        await supervisor.keep(ChildSpec("worker", [*emmetd, "worker"], environment, _WORKER_STOP_SECONDS))
        await start_api()
        banner = ready_banner(url, name, settings.data, with_key=needs_key)
        await supervisor.run(watch_readiness(url, announce, banner, supervisor.restarted))
    announce("stopped")


def announce(text: str) -> None:
    """One message for the person who started us. Whole lines, so that they stay apart from the children's."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
