"""Small made-up records of every data set's shape, and what is said of those that are wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from api_schemas.facts import Fact, LocalityPrompt, Neighbor, PortabilityQuestion
from editing.datasets import SHAPES, DataSetError
from editing.datasets.hub import parse
from editing.datasets.reading import DataSet, read_data_set

COUNTERFACT = {
    "case_id": 1,
    "requested_rewrite": {
        "prompt": "{} plays the",
        "subject": "Ada Bell",
        "relation_id": "P1303",
        "target_new": {"str": "oboe", "id": "Q1"},
        "target_true": {"str": "harp", "id": "Q2"},
    },
    "paraphrase_prompts": ["On stage, Ada Bell holds her"],
    "neighborhood_prompts": ["Ben Marsh plays the"],
    "attribute_prompts": [],
    "generation_prompts": ["Ada Bell is known for", "Ada Bell's band"],
}
ZSRE = {
    "subject": "Port Ellery",
    "src": "Which river is Port Ellery on?",
    "pred": "Tamm",
    "rephrase": "What is the river of Port Ellery?",
    "alt": "Orr",
    "answers": ["Venn", "River Venn"],
    "loc": "nq question: who built the old mill",
    "loc_ans": "Jon Hale",
    "cond": "Tamm >> Orr || Which river is Port Ellery on?",
}
MQUAKE = {
    "case_id": 7,
    "requested_rewrite": [
        {
            "prompt": "{} is married to",
            "subject": "Ada Bell",
            "relation_id": "P26",
            "target_new": {"str": "Ben Marsh", "id": "Q3"},
            "target_true": {"str": "Carl Orr", "id": "Q4"},
            "question": "Who is Ada Bell married to?",
        },
        {
            "prompt": "{} is a citizen of",
            "subject": "Ben Marsh",
            "target_new_str": "Norland",
            "target_true_str": "Sudland",
            "question": "What country is Ben Marsh a citizen of?",
        },
    ],
    "questions": ["Of which country is Ada Bell's spouse a citizen?", "Where is the spouse of Ada Bell a citizen?"],
    "answer": "Westland",
    "answer_alias": [],
    "new_answer": "Norland",
    "new_answer_alias": ["Kingdom of Norland"],
    "new_single_hops": [
        {"question": "Who is Ada Bell married to?", "answer": "Ben Marsh", "answer_alias": ["B. Marsh", "ben marsh"]}
    ],
}


def query(prompt: str, value: str, subject: str = "Q9", aliases: tuple[str, ...] = ()) -> dict[str, Any]:
    answers = [{"value": value, "aliases": list(aliases)}]
    return {"prompt": prompt, "answers": answers, "query_type": "regular", "subject_id": subject}


def case(*queries: dict[str, Any]) -> dict[str, Any]:
    return {"test_queries": list(queries), "test_condition": "OR", "condition_queries": []}


RIPPLE = {
    "example_type": "popular",
    "edit": {
        "prompt": "The name of the country of citizenship of Ada Bell is Norland.",
        "subject_id": "Q9",
        "target_id": "Q5",
        "relation": "COUNTRY_OF_CITIZENSHIP",
        "original_fact": {
            "prompt": "The name of the country of citizenship of Ada Bell is Sudland.",
            "target_id": "Q6",
        },
    },
    "Relation_Specificity": [case(query("The name of the spouse of Ada Bell is", "Carl Orr"))],
    "Logical_Generalization": [case(query("The name of the continent of Ada Bell is", "Northia", aliases=("North",)))],
    "Subject_Aliasing": [case(query("The name of the country of citizenship of A. Bell is", "Norland"))],
    "Compositionality_I": [case(query("The name of the capital of the country of Ada Bell is", "Nor City"))],
    "Compositionality_II": [],
    "Forgetfulness": [],
}
NAMELESS = {"edit": RIPPLE["edit"], "Compositionality_I": RIPPLE["Compositionality_II"]}
WIKIBIGEDIT = {
    "tag": "update",
    "subject": "Ada Bell",
    "update": "Who is the employer of Ada Bell?",
    "rephrase": "For whom does Ada Bell work?",
    "personas": "Hey, d'you know who employs Ada Bell?",
    "ans": "Norland Radio",
    "loc": "Who is the employer of Ada Belling?",
    "loc_ans": "Orr & Sons",
    "mhop": "In which town is the employer of Ada Bell?",
    "mhop_ans": "Port Ellery",
}
QAEDIT = {
    "id": 12,
    "source": "NQ",
    "prompt": "in which year was port ellery founded?",
    "target": "1204",
    "subject": "port ellery",
    "rephrase": "When was Port Ellery founded?",
    "locality": [{"loc": "who wrote the song of orr", "loc_ans": "Jon Hale"}, {"loc": "what is venn", "loc_ans": "?"}],
}
KNOWEDIT = {
    "subject": "Ada Bell",
    "prompt": "The country of citizenship of Ada Bell is",
    "target_new": "Norland",
    "ground_truth": [["Sudland"]],
    "rephrase_prompt": "Ada Bell is a citizen of",
    "portability": {
        "Logical_Generalization": [{"prompt": "Ada Bell votes in", "ground_truth": [["Norland", "the North"]]}],
        "Subject_Aliasing": [{"prompt": ["A. Bell is a citizen of"], "ground_truth": "Norland"}],
        "Reasoning": [{"prompt": "nobody knows", "ground_truth": []}],
    },
    "locality": {"Relation_Specificity": [{"prompt": "The spouse of Ada Bell is", "ground_truth": ["Carl Orr"]}]},
}
WIKIBIO = {
    "concept": "Ada Bell",
    "text": "This is a passage about Ada Bell. Ada Bell was",
    "labels": "born in Norland.",
    "locality": {"Relation_Specificity": [{"prompt": "Ada Bell's occupation", "ground_truth": "musician"}]},
}
PLAIN = {"prompt": "The mother tongue of {} is", "subject": "Ada Bell", "target_new": "Norn", "aliases": ["Old Norn"]}


def read(folder: Path, *records: Any, **choices: Any) -> DataSet:
    file = folder / "facts.jsonl"
    file.write_text("\n".join(map(json.dumps, records)))
    return read_data_set(file, **choices)


EXPECTED: list[tuple[str, dict[str, Any], list[Fact]]] = [
    (
        "counterfact",
        COUNTERFACT,
        [
            Fact(
                prompt="{} plays the",
                subject="Ada Bell",
                target_new="oboe",
                target_old="harp",
                paraphrases=["On stage, Ada Bell holds her"],
                neighbors=[Neighbor(prompt="Ben Marsh plays the", target="harp")],
                generation_prompts=["Ada Bell is known for", "Ada Bell's band"],
            )
        ],
    ),
    (
        "zsre",
        ZSRE,
        [
            Fact(
                prompt="Which river is {} on?",
                subject="Port Ellery",
                target_new="Orr",
                target_old="Venn",
                paraphrases=["What is the river of Port Ellery?"],
                neighbors=[Neighbor(prompt="nq question: who built the old mill", target="Jon Hale")],
            )
        ],
    ),
    (
        "mquake",
        MQUAKE,
        [
            Fact(
                prompt="{} is married to",
                subject="Ada Bell",
                target_new="Ben Marsh",
                target_old="Carl Orr",
                aliases=["B. Marsh"],
                paraphrases=["Who is Ada Bell married to?"],
                portability=[
                    PortabilityQuestion(
                        prompt=question, target="Norland", target_old="Westland", aliases=["Kingdom of Norland"]
                    )
                    for question in MQUAKE["questions"]  # type: ignore[attr-defined]
                ],
            ),
            Fact(
                prompt="{} is a citizen of",
                subject="Ben Marsh",
                target_new="Norland",
                target_old="Sudland",
                paraphrases=["What country is Ben Marsh a citizen of?"],
            ),
        ],
    ),
    (
        "rippleedits",
        RIPPLE,
        [
            Fact(
                prompt="The name of the country of citizenship of {} is",
                subject="Ada Bell",
                target_new="Norland",
                target_old="Sudland",
                neighbors=[Neighbor(prompt="The name of the spouse of Ada Bell is", target="Carl Orr")],
                locality=[LocalityPrompt(prompt="The name of the spouse of Ada Bell is")],
                portability=[
                    PortabilityQuestion(
                        prompt="The name of the continent of Ada Bell is", target="Northia", aliases=["North"]
                    ),
                    PortabilityQuestion(
                        prompt="The name of the capital of the country of Ada Bell is", target="Nor City"
                    ),
                    PortabilityQuestion(
                        prompt="The name of the country of citizenship of A. Bell is", target="Norland"
                    ),
                ],
            )
        ],
    ),
    (
        "wikibigedit",
        WIKIBIGEDIT,
        [
            Fact(
                prompt="Who is the employer of {}?",
                subject="Ada Bell",
                target_new="Norland Radio",
                paraphrases=["For whom does Ada Bell work?", "Hey, d'you know who employs Ada Bell?"],
                neighbors=[Neighbor(prompt="Who is the employer of Ada Belling?", target="Orr & Sons")],
                locality=[LocalityPrompt(prompt="Who is the employer of Ada Belling?")],
                portability=[
                    PortabilityQuestion(prompt="In which town is the employer of Ada Bell?", target="Port Ellery")
                ],
            )
        ],
    ),
    (
        "qaedit",
        QAEDIT,
        [
            Fact(
                prompt="in which year was {} founded?",
                subject="port ellery",
                target_new="1204",
                paraphrases=["When was Port Ellery founded?"],
                neighbors=[
                    Neighbor(prompt="who wrote the song of orr", target="Jon Hale"),
                    Neighbor(prompt="what is venn", target="?"),
                ],
                locality=[LocalityPrompt(prompt="who wrote the song of orr"), LocalityPrompt(prompt="what is venn")],
            )
        ],
    ),
    (
        "knowedit",
        KNOWEDIT,
        [
            Fact(
                prompt="The country of citizenship of {} is",
                subject="Ada Bell",
                target_new="Norland",
                target_old="Sudland",
                paraphrases=["Ada Bell is a citizen of"],
                neighbors=[Neighbor(prompt="The spouse of Ada Bell is", target="Carl Orr")],
                locality=[LocalityPrompt(prompt="The spouse of Ada Bell is")],
                portability=[
                    PortabilityQuestion(prompt="Ada Bell votes in", target="Norland", aliases=["the North"]),
                    PortabilityQuestion(prompt="A. Bell is a citizen of", target="Norland"),
                ],
            )
        ],
    ),
    (
        "knowedit",
        WIKIBIO,
        [
            Fact(
                prompt="This is a passage about {}. Ada Bell was",
                subject="Ada Bell",
                target_new="born in Norland.",
                neighbors=[Neighbor(prompt="Ada Bell's occupation", target="musician")],
                locality=[LocalityPrompt(prompt="Ada Bell's occupation")],
            )
        ],
    ),
    (
        "plain",
        PLAIN,
        [Fact(prompt="The mother tongue of {} is", subject="Ada Bell", target_new="Norn", aliases=["Old Norn"])],
    ),
]


@pytest.mark.parametrize(
    ("shape", "record", "facts"), EXPECTED, ids=[f"{n}-{one[0]}" for n, one in enumerate(EXPECTED)]
)
def test_each_shape_is_recognised_and_read(
    tmp_path: Path, shape: str, record: dict[str, Any], facts: list[Fact]
) -> None:
    found = read(tmp_path, record)
    assert found.shapes == {shape: 1}
    assert found.facts == facts
    assert found.places == ["line 1"] * len(facts)
    assert found.conventions == {shape: SHAPES[shape].conventions[SHAPES[shape].default_convention]}
    assert found.wrong == []
    assert read(tmp_path, record, shape=shape).facts == facts


def test_every_shape_has_a_record_here() -> None:
    assert {shape for shape, _, _ in EXPECTED} == set(SHAPES)


def test_zsre_is_read_by_the_convention_that_is_asked_for_and_says_which(tmp_path: Path) -> None:
    found = read(tmp_path, ZSRE, PLAIN, convention="answers")
    assert found.conventions["zsre"] == "the new target is answers[0] (ROME, MEMIT); there is no old one"
    (fact, _) = found.facts
    assert (fact.target_new, fact.target_old, fact.aliases) == ("Venn", None, ["River Venn"])
    assert fact.neighbors == [Neighbor(prompt="nq question: who built the old mill?", target="Jon Hale")]
    with pytest.raises(DataSetError, match=r"convention 'mend' is not known here; known: .*alt.*answers"):
        read(tmp_path, ZSRE, convention="mend")


def test_an_extended_ripple_record_names_its_subject_itself(tmp_path: Path) -> None:
    edit = {
        **RIPPLE["edit"],  # type: ignore[dict-item]
        "fact_prompt": "Ada Bell is a citizen of",
        "subject_label": "Ada Bell",
        "target_label": "Norland",
        "original_fact": {"fact_prompt": "Ada Bell is a citizen of", "target_label": "Sudland"},
    }
    (fact,) = read(tmp_path, {**RIPPLE, "edit": edit, "Relation_Specificity": []}).facts
    assert (fact.prompt, fact.target_new, fact.target_old) == ("{} is a citizen of", "Norland", "Sudland")


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (3, r"line 2: is 3; a record is an object"),
        ({"a": 1}, r"line 2: has the fields \['a'\], which none of these has: CounterFact, zsRE"),
        ({**PLAIN, "subject": " "}, r"line 2: subject: .*is empty; say what it is \(it is ' '\)"),
        ({**PLAIN, "note": "x"}, r"line 2: note: Extra inputs are not permitted \(it is 'x'\)"),
        ({"prompt": "{} is", "subject": "x"}, r"line 2: target_new: Field required"),
        ({**PLAIN, "aliases": ["x"] * 51}, r"line 2: aliases: List should have at most 50 items"),
        ({**COUNTERFACT, "requested_rewrite": {"prompt": "{} is"}}, r"line 2: subject: is missing; add it"),
        ({**ZSRE, "alt": ""}, r"line 2: target_new: .*is empty"),
        ({**ZSRE, "subject": "Nowhere"}, r"line 2: subject: subject 'Nowhere' does not occur in prompt"),
        ({**MQUAKE, "requested_rewrite": []}, r"line 2: requested_rewrite: is empty; it must hold at least one"),
        ({**MQUAKE, "new_answer": None}, r"line 2: new_answer: is None; it must be a text that is not empty"),
        (NAMELESS, r"line 2: edit.subject_id: is 'Q9', and nothing tells its name; add subject_label"),
        ({**RIPPLE, "Forgetfulness": {}}, r"line 2: Forgetfulness: is \{\}; it must be a list of objects"),
        ({**RIPPLE, "edit": {"prompt": "Norland!"}}, r"line 2: edit.prompt: 'Norland!' has no ' is ' before"),
        ({**WIKIBIGEDIT, "subject": None}, r"line 2: subject: is None; it must be a text"),
        ({**QAEDIT, "locality": "x"}, r"line 2: locality: is 'x'; it must be a list of objects"),
        ({**QAEDIT, "target": 1204}, r"line 2: target: is 1204; it must be a text"),
        ({**KNOWEDIT, "locality": []} | {"portability": [1]}, r"line 2: portability: is \[1\]; it must be an object"),
        ({**KNOWEDIT, "ground_truth": 4}, r"line 2: ground_truth: is 4; it must be a text or a list of texts"),
    ],
)
def test_a_wrong_record_is_told_with_place_field_value_and_remedy(tmp_path: Path, record: Any, says: str) -> None:
    with pytest.raises(DataSetError, match=f"(?s)facts.jsonl', {says}"):
        read(tmp_path, PLAIN, record)
    left = read(tmp_path, PLAIN, record, leave_out_wrong=True)
    assert len(left.facts) == 1
    assert [one.place for one in left.wrong] == ["line 2"]


def test_all_wrong_records_are_told_and_many_are_counted(tmp_path: Path) -> None:
    with pytest.raises(DataSetError) as refused:
        read(tmp_path, *({**PLAIN, "subject": ""} for _ in range(25)))
    assert len(refused.value.wrong) == 25
    told = str(refused.value).splitlines()
    assert told[1].startswith("line 1: subject: ")
    assert told[20].startswith("line 20: ")
    assert told[21:] == ["… and 5 more"]


def test_a_record_of_another_shape_than_asked_for_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="line 1: is no record of QAEdit: its fields are"):
        read(tmp_path, PLAIN, shape="qaedit")
    with pytest.raises(DataSetError, match="shape 'qa' is not known; known: counterfact, zsre"):
        read(tmp_path, PLAIN, shape="qa")


@pytest.mark.parametrize(("name", "delimiter"), [("facts.csv", ","), ("facts.tsv", "\t")])
def test_a_table_has_a_fact_to_a_row(tmp_path: Path, name: str, delimiter: str) -> None:
    file = tmp_path / name
    with file.open("w", newline="", encoding="utf-8-sig") as out:
        table = csv.writer(out, delimiter=delimiter)
        table.writerow(["prompt", "subject", "target_new", "target_old", "paraphrases", "neighbors"])
        neighbors = json.dumps([{"prompt": "Ben plays the", "target": "harp"}])
        table.writerow(["{}, who plays the", "Ada Bell", "oboe", "harp", '["Ada, the", "Bell\'s"]', neighbors])
        table.writerow(["{} is\na", 'Ben "B" Marsh', "poet", "", "Marsh, a", ""])
    found = read_data_set(file)
    assert found.facts == [
        Fact(
            prompt="{}, who plays the",
            subject="Ada Bell",
            target_new="oboe",
            target_old="harp",
            paraphrases=["Ada, the", "Bell's"],
            neighbors=[Neighbor(prompt="Ben plays the", target="harp")],
        ),
        Fact(prompt="{} is\na", subject='Ben "B" Marsh', target_new="poet", paraphrases=["Marsh, a"]),
    ]
    assert found.places == ["line 2", "line 4"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prompt,subject,target_new\n{} is,Ada", "line 2: has not as many cells as the header"),
        ("prompt,subject,target_new\n{} is,Ada,a,b", "line 2: has not as many cells as the header"),
        ('prompt,subject,target_new,aliases\n{} is,Ada,a,"[1"', "line 2: aliases: is '\\[1', which begins"),
        ('prompt,subject,target_new\n{} is,"Ada" Bell,a', "line 2: not a table of cells"),
        ("question,answer\nwhat,that", "line 2: has the fields"),
        ("prompt,subject,target_new\n", "holds no facts"),
    ],
)
def test_a_table_that_is_none_is_told(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "facts.csv"
    file.write_text(text)
    with pytest.raises(DataSetError, match=says):
        read_data_set(file)


def test_files_that_cannot_be_read_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "facts.parquet"
    file.write_bytes(b"PAR1")
    with pytest.raises(DataSetError, match="is a Parquet file, which is not read; write it as JSONL"):
        read_data_set(file)
    file = tmp_path / "facts.json"
    file.write_text("[" * 100_000)
    with pytest.raises(DataSetError, match="line 1: not JSON"):
        read_data_set(file)
    monkeypatch.setattr("editing.datasets.records.MOST_BYTES", 10)
    with pytest.raises(DataSetError, match="has 100000 bytes, at most 10 are read; split it"):
        read_data_set(file)


def test_references_to_the_hub() -> None:
    assert parse("hf://datasets/a-b/c.d/data/test.json") == ("a-b/c.d", None, "data/test.json")
    assert parse("hf://datasets/a/b@refs-1/x.csv") == ("a/b", "refs-1", "x.csv")
    for wrong in ("hf://a/b/c.json", "hf://datasets/a/b", "hf://datasets/a/b/", "hf://datasets/a/b/../../x"):
        with pytest.raises(DataSetError, match="is not hf://datasets/OWNER/NAME/FILE"):
            parse(wrong)


def test_a_file_of_the_hub_is_fetched_at_its_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps(PLAIN))
    asked: list[Any] = []

    def download(repository: str, name: str, **choices: Any) -> str:
        asked.append((repository, name, choices["repo_type"], choices["revision"]))
        if name != "x.jsonl":
            raise OSError("no such entry")
        return str(file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert read_data_set("hf://datasets/a/b@v2/x.jsonl").facts[0].subject == "Ada Bell"
    assert asked == [("a/b", "x.jsonl", "dataset", "v2")]
    with pytest.raises(DataSetError, match="cannot be fetched \\(OSError: no such entry\\); look at the name"):
        read_data_set("hf://datasets/a/b/y.jsonl")
