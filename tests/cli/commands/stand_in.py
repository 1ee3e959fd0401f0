"""Stands in for the command `emmetd` in tests of the supervisor: light processes that misbehave when they are told to.

`stand_in.py serve FOLDER` is the real supervisor over the stand-ins. A file FOLDER/orders/NAME holds an order for the
next start of NAME: `exit N MESSAGE`, or `stubborn` (ignores SIGTERM), or `slow` (goes on once the order is another), or
nothing. FOLDER/pids/NAME lists the starts. With the order `hasty`, the supervisor waits less.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


def obey(name: str) -> None:
    folder = Path(os.environ["EMMETD_DATA"])
    (folder / "pids").mkdir(exist_ok=True)
    with (folder / "pids" / name).open("a") as pids:
        pids.write(f"{os.getpid()}\n")
    order = folder / "orders" / name
    words = order.read_text().split(maxsplit=2) if order.exists() else []
    while words[:1] == ["slow"]:
        time.sleep(0.05)
        words = order.read_text().split(maxsplit=2)
    if words[:1] == ["exit"]:
        sys.stderr.write(f"{words[2]}\n")
        sys.exit(int(words[1]))
    if words[:1] == ["stubborn"]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def migrate() -> None:
    obey("migrate")


def worker() -> None:
    obey("worker")
    import redis

    with redis.Redis.from_url(os.environ["EMMETD_REDIS_URL"]) as queue:
        queue.incr("worker starts")
        while True:
            queue.set("worker", os.getpid(), ex=1)
            time.sleep(0.05)


def api(fd: int) -> None:
    obey("api")
    (Path(os.environ["EMMETD_DATA"]) / "auth").write_text(os.environ["EMMETD_AUTH"])
    import redis

    queue = redis.Redis.from_url(os.environ["EMMETD_REDIS_URL"])

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                pid = queue.get("worker")
            except redis.ConnectionError:
                pid = None
            body = {"worker": int(pid)} if pid else {"detail": "no worker yet: 10%"}
            self.send_response(200 if pid else 503)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Ready, bind_and_activate=False)
    server.socket = socket.socket(fileno=fd)
    server.serve_forever()


def serve(folder: Path) -> None:
    from cli.commands.serve import run_all
    from cli.supervision.listener import listen
    from cli.supervision.restarts import RestartPolicy
    from cli.terminal.data_folder import held_data_folder
    from cli.terminal.errors import CliError
    from configuration.settings import load_settings

    settings = load_settings(data=folder, port=0)
    hasty = (folder / "orders" / "serve").exists()
    patience = {"policy": RestartPolicy(first_delay=0.05), "migration_patience": 0.2} if hasty else {}
    try:
        with held_data_folder(folder), listen(settings.host, settings.port) as listener:
            asyncio.run(run_all(settings, listener, emmetd=[sys.executable, __file__], **patience))
    except CliError as error:
        sys.stderr.write(f"emmetd: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "serve":
        serve(Path(rest[0]))
    elif command == "api":
        api(int(rest[1]))
    else:
        {"migrate": migrate, "worker": worker}[command]()
