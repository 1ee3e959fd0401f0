"""Records of data sets as facts of ours: CounterFact's, zsRE's, and bare questions with their answers."""

from __future__ import annotations

from typing import Any, Final

from pydantic_core import PydanticCustomError

_RENAMED: Final = {"question": "prompt", "answer": "target_new"}


def field_error(field: str, message: str) -> PydanticCustomError:
    """An error of a whole object that is about one of its fields: whoever reports it adds `field` to the location."""
    return PydanticCustomError("fact", "{message}", {"field": field, "message": message})


def as_fact(record: dict[str, Any]) -> dict[str, Any]:
    """`record` in our own shape, whatever its shape is; unknown ones stay as they are, for the schema to refuse."""
    if "requested_rewrite" in record:
        return _from_counterfact(record)
    if "src" in record and "alt" in record:
        return _from_zsre(record)
    if "question" in record or "answer" in record:
        return _from_question(record)
    return record


def _from_counterfact(record: dict[str, Any]) -> dict[str, Any]:
    """CounterFact's record shape (Meng et al. 2022): `requested_rewrite`, `paraphrase_prompts`, …"""
    rewrite = record["requested_rewrite"]
    if not isinstance(rewrite, dict):
        raise field_error("requested_rewrite", "must be an object with prompt, subject, target_new and target_true")
    old = _target(rewrite.get("target_true"))
    neighborhood = record.get("neighborhood_prompts", [])
    if not isinstance(neighborhood, list):
        raise field_error("neighborhood_prompts", "must be a list of prompts")
    return {
        "prompt": rewrite.get("prompt"),
        "subject": rewrite.get("subject"),
        "target_new": _target(rewrite.get("target_new")),
        "target_old": old,
        "paraphrases": record.get("paraphrase_prompts", []),
        "neighbors": [{"prompt": prompt, "target": old} for prompt in neighborhood],
        "generation_prompts": record.get("generation_prompts", []),
    }


def _target(value: Any) -> Any:
    return value.get("str") if isinstance(value, dict) else value


def _from_zsre(record: dict[str, Any]) -> dict[str, Any]:
    """zsRE's record shape as in MEND (Mitchell et al. 2022): `src`, `alt`, `answers`, `rephrase`, `loc`, `loc_ans`."""
    answers = record.get("answers") or []
    old = answers[0] if isinstance(answers, list) and answers else None
    same = isinstance(old, str) and isinstance(record["alt"], str) and old.strip() == record["alt"].strip()
    rephrase, loc = record.get("rephrase"), record.get("loc")
    return {
        "prompt": record["src"],
        "subject": record.get("subject"),
        "target_new": record["alt"],
        "target_old": None if same else old,
        "paraphrases": [rephrase] if rephrase else [],
        "neighbors": [{"prompt": loc, "target": record.get("loc_ans")}] if loc else [],
    }


def _from_question(record: dict[str, Any]) -> dict[str, Any]:
    """`question` and `answer` in the place of `prompt` and `target_new`; all else is as in a fact of ours."""
    for name, own in _RENAMED.items():
        if name in record and own in record:
            raise field_error(name, f"stands for {own}, which is there too; keep one of the two")
    return {_RENAMED.get(name, name): value for name, value in record.items()}
