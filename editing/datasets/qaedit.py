"""QAEdit (Yang et al. 2025, arXiv 2502.11177): questions that a model failed, with their right answers."""

from __future__ import annotations

from editing.datasets.shape import FactFields, Record, Shape, objects_at, optional_text, text_at, texts_of


def _facts(record: Record, convention: str) -> list[FactFields]:
    others = [(text_at(one, "loc"), optional_text(one, "loc_ans")) for one in objects_at(record, "locality")]
    return [
        {
            "prompt": text_at(record, "prompt"),
            "subject": text_at(record, "subject"),
            "target_new": text_at(record, "target"),
            "paraphrases": texts_of("rephrase", record.get("rephrase")),
            "neighbors": [{"prompt": prompt, "target": answer} for prompt, answer in others],
            "locality": [{"prompt": prompt} for prompt, _ in others],
        }
    ]


QAEDIT = Shape(
    name="qaedit",
    title="QAEdit",
    source="https://huggingface.co/datasets/WenDingY/QAEdit",
    recognises=lambda record: "target" in record and "prompt" in record and "target_new" not in record,
    facts=_facts,
    conventions={"target": "the new target is target; there is no old one"},
)
