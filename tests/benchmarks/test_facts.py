"""Facts files in every shape, and what is said of those that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.facts import FactsFileError, draw_groups, read_facts
from tests.support.tiny_loaded import load_tiny

OURS = {"prompt": "The twin city of {} is", "subject": "Lyon", "target_new": "Madrid"}
COUNTERFACT = {
    "case_id": 2,
    "requested_rewrite": {
        "prompt": "{} plays the",
        "subject": "Toko Yasuda",
        "target_new": {"str": "piano"},
        "target_true": {"str": "guitar"},
    },
    "paraphrase_prompts": [],
    "neighborhood_prompts": [],
}


@pytest.mark.parametrize(
    "text",
    [
        f"{json.dumps(OURS)}\n\n{json.dumps(COUNTERFACT)}\n",
        json.dumps([OURS, COUNTERFACT], indent=2),
        json.dumps({"model": "tiny", "facts": [OURS, COUNTERFACT]}),
    ],
)
def test_facts_come_in_any_shape_that_the_service_takes(tmp_path: Path, text: str) -> None:
    file = tmp_path / "facts"
    file.write_text(text)
    assert [(fact.subject, fact.target_new) for fact in read_facts(file)] == [
        ("Lyon", "Madrid"),
        ("Toko Yasuda", "piano"),
    ]


def test_a_single_line_is_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "facts.jsonl"
    file.write_text(json.dumps(COUNTERFACT))
    assert [fact.target_old for fact in read_facts(file)] == ["guitar"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{json.dumps(OURS)}\n{{", r"line 2: not JSON"),
        (f"{json.dumps(OURS)}\n{json.dumps({**OURS, 'subject': ' '})}", r"line 2: subject: .*is empty"),
        (json.dumps([OURS, {**OURS, "target_old": "Madrid"}]), r"fact 1: target_new: .*equals target_old"),
        (f"{json.dumps(OURS)}\n3", r"line 2: "),
        ("\n", "holds no facts"),
        ("[]", "holds no facts"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "facts.jsonl"
    file.write_text(text)
    with pytest.raises(FactsFileError, match=f"facts.jsonl'.*{says}"):
        read_facts(file)


def test_a_missing_file_and_one_that_is_no_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(FactsFileError, match="no such file"):
        read_facts(tmp_path / "facts.jsonl")
    (tmp_path / "facts.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FactsFileError, match="cannot be read as UTF-8"):
        read_facts(tmp_path / "facts.jsonl")


def test_subjects_are_distinct_and_what_does_not_fit_is_passed_over(tmp_path: Path) -> None:
    model = load_tiny(tmp_path)
    file = tmp_path / "facts.jsonl"
    records = [OURS, {**OURS, "target_new": "Spain"}, {**OURS, "subject": "x" * 400}, COUNTERFACT]
    file.write_text("\n".join(map(json.dumps, records)))
    facts = read_facts(file)
    drawn = draw_groups(model, facts, 10, seed=0)
    assert sorted(group.subject for group in drawn) == ["Lyon", "Toko Yasuda"]
    assert draw_groups(model, facts, 10, seed=0) == drawn
    assert len(draw_groups(model, facts, 1, seed=3)) == 1
    with pytest.raises(FactsFileError, match="none of the 1 facts"):
        draw_groups(model, facts[2:3], 10, seed=0)
