"""Logs: one shape for all libraries, the work's ids on every line, no secret on any."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator

import pytest
import structlog

from configuration.logs import configure_logs
from configuration.settings import load_settings

Lines = Callable[[], list[dict[str, object]]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def lines() -> Lines:
    stream = io.StringIO()
    settings = load_settings(
        api_key="hunter-key", redis_url="redis://:hunter-redis@h:1/0", database_url="postgresql://u:hunter-sql@h/d"
    )
    configure_logs(settings, "worker", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_away_from_a_terminal_each_line_is_a_json_object(lines: Lines) -> None:
    structlog.get_logger("workers.tasks.solve").info("solved", facts=3)
    (line,) = lines()
    assert line["event"] == "solved"
    assert line["facts"] == 3
    assert (line["level"], line["logger"], line["process"]) == ("info", "workers.tasks.solve", "worker")
    assert str(line["timestamp"]).endswith("Z")


def test_what_the_work_is_about_stands_on_every_line_of_it(lines: Lines) -> None:
    with structlog.contextvars.bound_contextvars(edit="edit_1"):
        structlog.get_logger().info("planned")
        logging.getLogger("rq.worker").info("job %s started", "j1")
    logging.getLogger("rq.worker").info("idle")
    assert [line.get("edit") for line in lines()] == ["edit_1", "edit_1", None]
    assert lines()[1]["event"] == "job j1 started"


def test_uvicorn_and_warnings_go_the_same_way(lines: Lines) -> None:
    logging.getLogger("uvicorn.error").info("up on %s", "x", extra={"color_message": "coloured"})
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("careful", UserWarning, stacklevel=1)
    served, warned = lines()
    assert (served["event"], "color_message" in served) == ("up on x", False)
    assert (warned["logger"], "careful" in str(warned["event"])) == ("py.warnings", True)


def test_no_line_shows_a_secret(lines: Lines) -> None:
    log = structlog.get_logger()
    log.info("a", api_key="hunter-1", nested={"Authorization": "hunter-2", "list": ["hunter-key"]})
    log.info("connecting to redis://u:hunter-3@h:6379 with hunter-redis", url="postgresql://u:hunter-sql@h/d")
    logging.getLogger("x").warning("sent %s", {"h": "Bearer hunter-4"}, extra={"password": "hunter-5"})
    log.info("object", error=ValueError("hunter-key"))
    try:
        raise ValueError("refused key hunter-key")
    except ValueError:
        log.exception("failed")
    shown = json.dumps(lines())
    assert "hunter" not in shown
    assert "refused key ********" in shown


def test_on_a_terminal_lines_are_text() -> None:
    stream = Terminal()
    configure_logs(load_settings(), "api", stream)
    structlog.get_logger().info("ready")
    assert "ready" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_the_format_can_be_forced() -> None:
    stream = Terminal()
    configure_logs(load_settings(log_format="json"), "api", stream)
    structlog.get_logger().info("ready")
    assert json.loads(stream.getvalue())["event"] == "ready"


def test_lines_under_the_level_are_left_out() -> None:
    stream = io.StringIO()
    configure_logs(load_settings(log_level="warning"), "api", stream)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_values_that_json_does_not_know_are_written_as_text(lines: Lines) -> None:
    structlog.get_logger().info("odd", value=object, number={1: 2})
    assert lines()[0]["number"] == {"1": 2}
