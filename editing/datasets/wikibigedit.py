"""WikiBigEdit (Thede et al. 2025, arXiv 2503.05683): questions on what changed in Wikidata.

`personas` asks the same in somebody's manner of speaking, which is a paraphrase; `mhop` is a question of several hops.
"""

from __future__ import annotations

from editing.datasets.shape import FactFields, Record, Shape, optional_text, text_at


def _facts(record: Record, convention: str) -> list[FactFields]:
    paraphrases = [optional_text(record, "rephrase"), optional_text(record, "personas")]
    unrelated, hops = optional_text(record, "loc"), optional_text(record, "mhop")
    hops_answer = optional_text(record, "mhop_ans")
    neighbors = [{"prompt": unrelated, "target": optional_text(record, "loc_ans")}] if unrelated else []
    return [
        {
            "prompt": text_at(record, "update"),
            "subject": text_at(record, "subject"),
            "target_new": text_at(record, "ans"),
            "paraphrases": [text for text in paraphrases if text is not None],
            "neighbors": neighbors,
            "locality": [{"prompt": unrelated}] if unrelated else [],
            "portability": [{"prompt": hops, "target": hops_answer}] if hops and hops_answer else [],
        }
    ]


WIKIBIGEDIT = Shape(
    name="wikibigedit",
    title="WikiBigEdit",
    source="https://huggingface.co/datasets/lukasthede/WikiBigEdit",
    recognises=lambda record: "update" in record and "ans" in record,
    facts=_facts,
    conventions={"ans": "the new target is ans; there is no old one"},
)
