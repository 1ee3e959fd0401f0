"""Every example of the pages that lead through something is run against a real server, as a reader would.

The model is tiny and says other things than the default one: what a page shows of its words is compared by
`python -m tests.acceptance five_minutes`, against a fresh `make run`.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.documentation.conftest import ROOT, environment
from tests.support.examples import Example, ExampleFailedError, Reader, examples, matches
from tests.support.programs import program
from tests.support.running.server import Server

NAME = "smollm2-135m"
PAGES = ("five-minutes", "chat-models", "comparing-methods", "year-of-corrections", "laptop-to-cluster", "into-vllm")
pages = pytest.mark.parametrize("name", PAGES)


def of_page(name: str) -> list[Example]:
    return examples((ROOT / "docs" / f"{name}.md").read_text())


@pages
def test_examples_run(name: str, chat_model: Path, checkout: Path) -> None:
    with Server(chat_model, checkout.parent / "data", name=NAME) as server:
        address = str(server.http.base_url).rstrip("/")
        place = address.removeprefix("http://")
        chosen = environment(checkout, EMMETD_URL=address, EMMETD_DATA=str(server.data), EMMETD_MODEL=str(chat_model))
        with Reader(checkout, chosen, lambda text: text.replace("localhost:8000", place)) as reader:
            reader.run(Example(0, "sh", ". .venv/bin/activate"))
            for example in of_page(name):
                if example.text != "make run\n" and not example.not_run and not example.needs:
                    reader.run(example)


@pytest.mark.parametrize("needed", ["docker compose", "kubectl"])
def test_examples_run_with_programs_that_not_everybody_has(
    needed: str, checkout: Path, request: pytest.FixtureRequest
) -> None:
    if needed == "kubectl":
        program(needed)
    else:
        request.getfixturevalue("docker")
    found = [example for name in PAGES for example in of_page(name) if example.needs == needed]
    assert found
    with Reader(checkout, environment(checkout)) as reader:
        reader.run(Example(0, "sh", ". .venv/bin/activate"))
        for example in found:
            assert reader.run(example).strip()


@pages
def test_what_is_not_run_is_shell_and_names_commands_that_exist(name: str) -> None:
    from cli.main import app

    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {str(group.name) for group in app.registered_groups}
    for example in of_page(name):
        if example.language == "sh":
            subprocess.run(["bash", "-n"], input=example.text, text=True, check=True)
            assert set(re.findall(r"^(?:\w+=\S+ )*emmetd ([a-z]+)", example.text, re.M)) <= known


@pages
def test_pages_for_newcomers_have_no_other_kinds_of_commands(name: str) -> None:
    """A block of another language would escape the tests above."""
    languages = re.findall(r"^```(\w*)$", (ROOT / "docs" / f"{name}.md").read_text(), re.M)
    assert set(languages) - {""} <= {"sh", "python", "text"}
    assert of_page(name)


def test_a_reader_keeps_variables_and_stops_at_what_fails(tmp_path: Path) -> None:
    with Reader(tmp_path, environment(tmp_path), lambda text: text.replace("localhost:8000", "there")) as reader:
        reader.run(Example(1, "sh", "name=Ada; cd /\n"))
        assert reader.run(Example(2, "sh", 'echo "$name in $PWD" localhost:8000\n')).strip() == "Ada in / there"
        assert reader.run(Example(3, "python", "print(1 + 1)\n")).strip() == "2"
        with pytest.raises(ExampleFailedError, match=r"line 4:(?s:.*)No such file"):
            reader.run(Example(4, "sh", "ls /nowhere\necho never\n"))


def test_what_a_page_shows_is_compared_by_line() -> None:
    page = (
        "```sh\nls\n```\n\n```text\na\nb … c\n```\n\n"
        "<!-- not run: no -->\n```sh\nrm\n```\n<!-- needs: x -->\n```sh\ny\n```\n"
    )
    first, second, third = examples(page)

    assert (first.line, first.printed, second.not_run, third.needs) == (1, "a\nb … c\n", "no", "x")
    assert matches("a\nb 17 c\n", first.printed or "")
    assert not matches("a\nb 17 d\n", first.printed or "")
    assert not matches("a\n", first.printed or "")
