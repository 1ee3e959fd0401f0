"""`emmetd api`: the HTTP front end alone, in this process."""

from __future__ import annotations

import os
import socket
from typing import Annotated, Final

import typer

from cli.terminal.options import ApiKey, ConfigFile, DataFolder, Host, Port

_GRACE_SECONDS: Final = 5  # for requests in flight when we are told to stop; streams end then


def api(
    data: DataFolder = None,
    host: Host = None,
    port: Port = None,
    api_key: ApiKey = None,
    config: ConfigFile = None,
    fd: Annotated[int | None, typer.Option(hidden=True, help="A listening socket that was handed to us.")] = None,
) -> None:
    """Run the HTTP API. It needs the database and Redis that the workers use.

    \b
    Example:
      EMMETD_DATABASE_URL=postgresql://… EMMETD_REDIS_URL=redis://… emmetd api --host 0.0.0.0
    """
    from configuration.redis.lean import import_redis

    import_redis()

    from configuration.access_settings import require_keys
    from configuration.redis.connection import redis_url_of
    from configuration.settings import load_settings

    settings = load_settings(data=data, host=host, port=port, api_key=api_key, config=config)
    redis_url_of(settings)  # its absence shall be told before anything heavy is imported
    if fd is None:
        require_keys(settings)

    # A comparison of versions is the one thing that computes here; it leaves the other cores to workers beside it.
    # Read once, when NumPy is first imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    import uvicorn

    from cli.commands.migrate import end_where_the_database_refuses
    from cli.supervision.listener import is_loopback, listen
    from configuration.logs import configure_logs
    from service.app import create_app

    configure_logs(settings, "api")
    end_where_the_database_refuses(settings)
    listener = listen(settings.host, settings.port) if fd is None else socket.socket(fileno=fd)
    if not is_loopback(listener):  # `emmetd serve` has settled whether keys are needed, for the address that it found
        require_keys(settings)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            lifespan="on",
            log_config=None,
            access_log=False,  # the application writes its own, with the ids that matter
            server_header=False,
            proxy_headers=False,  # whose X-Forwarded-For is believed is a setting of ours
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
    server.run(sockets=[listener])
    if not server.started:
        raise typer.Exit(1)
