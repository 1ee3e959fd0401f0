"""Facts from files and data frames; tables in notebooks; progress that is shown."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from emmetd_client import EditData, Emmetd, FactsError, Progress, Table, from_dataframe, read_facts
from emmetd_client._progress import ShownProgress

from tests.client.stub import FACT, JOB, Stub, answer


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ('{"prompt": "a {}", "subject": "b", "target_new": "c"}\n{"prompt": "x", }\n', 2, 17, "is not JSON"),
        ('\n  {"prompt": "a {}", "subject": "b"}\n', 2, 3, "has no target_new; it has prompt, subject"),
        ('{"prompt": "a {}", "subject": 7, "target_new": "c"}', 1, 31, "subject must be text"),
        ('{"prompt": "a {}", "subject": "b", "target_new": "c"} {}', 1, 55, "more than one value"),
        ('[{"prompt": "a {}", "subject": "b", "target_new": "c"},\n "fact"]', 2, 2, "is a str"),
        ('[{"prompt": "a {}", "subject": "b", "target_new": "c"}\n', 2, 1, "ends without ']'"),
        ('["' + "x" * 5 + "\n", 1, 8, "is not JSON"),
    ],
)
def test_a_file_of_a_wrong_shape_is_told_by_line_and_column(
    tmp_path: Path, text: str, line: int, column: int, says: str
) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text(text)
    with pytest.raises(FactsError) as wrong:
        read_facts(path)
    assert (wrong.value.line, wrong.value.column) == (line, column)
    assert says in str(wrong.value)
    assert str(wrong.value).startswith(f"{path}: line {line}, column {column}: ")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FactsError, match="No such file"):
        read_facts(tmp_path / "nothing")
    (tmp_path / "empty").write_text(" \n")
    with pytest.raises(FactsError, match="has no facts in it"):
        read_facts(tmp_path / "empty")
    (tmp_path / "latin").write_bytes(b'{}\n{"prompt": "caf\xe9"}')
    with pytest.raises(FactsError, match="line 2, column 16: is not UTF-8"):
        read_facts(tmp_path / "latin")


def test_what_a_server_says_of_a_fact_is_found_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    second = {**FACT, "neighbors": [{"prompt": "p"}, {"target": "t", "prompt": ""}]}
    path.write_text(f"{json.dumps(FACT)}\r\n\n{json.dumps(second)}\n")
    file = read_facts(path)
    assert list(file) == [FACT, second]
    line = json.dumps(second)
    found = file.error("facts[1].neighbors[1].prompt", "is empty")
    assert found is not None
    assert (found.line, found.column) == (3, line.index('""') + 1)
    missing = file.error("facts[1].label", "is no field")
    assert missing is not None
    assert (missing.line, missing.column) == (3, 1)
    assert file.error("model", "is wrong") is None
    assert file.error("facts[9].subject", "is wrong") is None


def test_shapes_of_data_sets_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "counterfact.json"
    path.write_text(json.dumps([{"requested_rewrite": {"prompt": "x"}}, {"src": "a", "alt": "b"}], indent=1))
    assert len(read_facts(path)) == 2


def test_facts_come_out_of_a_data_frame() -> None:
    pandas = pytest.importorskip("pandas")  # of what the clients need
    frame = pandas.DataFrame(
        {"prompt": ["The capital of {} is"] * 2, "subject": ["France", "Italy"], "answer": ["Lyon", "Turin"]}
    )
    frame["target_old"] = ["Paris", None]
    assert from_dataframe(frame, target_new="answer") == [
        {**FACT, "target_old": "Paris"},
        {"prompt": "The capital of {} is", "subject": "Italy", "target_new": "Turin"},
    ]
    with pytest.raises(FactsError, match="has no column 'target_new'"):
        from_dataframe(frame)
    frame.loc[1, "answer"] = None
    with pytest.raises(FactsError, match="row 1 has no answer"):
        from_dataframe(frame, target_new="answer")
    with pytest.raises(FactsError, match="no data frame"):
        from_dataframe([FACT])


def test_polars_frames_are_taken_as_pandas_are() -> None:
    class Frame:
        """What is used of polars.DataFrame."""

        columns = ("prompt", "subject", "target_new", "paraphrases")

        def to_dicts(self) -> list[dict[str, object]]:
            return [{**FACT, "paraphrases": None}]

    assert from_dataframe(Frame()) == [FACT]


def test_facts_that_are_none_are_not_sent() -> None:
    stub = Stub(answer(202, JOB))
    with Emmetd(transport=stub.transport) as client:
        for facts in ("facts.jsonl", {"prompt": "x"}, [1]):
            with pytest.raises(FactsError):
                client.edits.create(model="tiny", facts=facts)  # type: ignore[arg-type]
    assert stub.requests == []


def test_what_callers_wrote_is_no_html() -> None:
    listed = {"data": [{"version": "v1", "model": "tiny", "label": "<script>", "facts": 3}], "next_cursor": None}
    with Emmetd(transport=Stub(answer(body=listed)).transport) as client:
        html = client.versions.list("tiny")._repr_html_()
    assert html is not None
    assert "&lt;script&gt;" in html
    assert "<td>3</td>" in html
    assert Table(("a", "b"), [("1", "22")], "t", ["n"]).text == "t\na  b\n1  22\nn"


def test_an_edit_shows_its_measurements() -> None:
    metrics = {"before": {"EM": {"value": 0.1, "n": 2}}, "after": {"EM": {"value": 1.0, "n": 2, "low": 0.5, "high": 1}}}
    ended = {**JOB, "state": "succeeded", "version": "v1", "metrics": metrics}
    assert EditData.model_validate(ended).table().rows == [("EM", "0.1", "1 [0.5, 1]", "2")]


def test_progress_is_told_in_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with ShownProgress(stream) as shown:
        shown(Progress(stage="optimising", done=1, total=4, eta_seconds=9.0))
        shown(Progress(stage="optimising", done=2, total=4))
        shown(Progress(stage="solving", done=0, total=0))
    assert stream.getvalue() == "optimising: 25%, about 9 s left\nsolving: 0%\n"


def test_importing_the_client_loads_nothing_heavy() -> None:
    code = (
        "import sys, emmetd_client; "
        "heavy = {'torch', 'transformers', 'numpy', 'pandas', 'polars', 'api_schemas', 'service', 'store'}; "
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
