"""zsRE, question answering (Levy et al. 2017; the split of Mitchell et al. 2022, arXiv 2110.11309).

Two conventions of its target are in use, and their scores must not be compared: MEND and EasyEdit edit in `alt`, an
answer that a model wrote, which is often wrong; ROME and MEMIT edit in `answers[0]`, the right one.
"""

from __future__ import annotations

from editing.datasets.errors import RecordError
from editing.datasets.shape import FactFields, Record, Shape, optional_text, shown, text_at, texts_of

ALT = "alt"
ANSWERS = "answers"


def _facts(record: Record, convention: str) -> list[FactFields]:
    if convention == ALT:
        return [dict(record)]  # the API takes these records too: `Fact` itself turns them into ours
    answers = texts_of("answers", record.get("answers"))
    if not answers:
        raise RecordError(
            "answers",
            f"is {shown(record.get('answers'))}; it must hold the right answer, or take the convention {ALT!r}",
        )
    rephrase, unrelated = optional_text(record, "rephrase"), optional_text(record, "loc")
    neighbors = []
    if unrelated is not None:  # ROME's reader ends the unrelated question with a question mark
        neighbors = [{"prompt": f"{unrelated.rstrip('?')}?", "target": optional_text(record, "loc_ans")}]
    return [
        {
            "prompt": text_at(record, "src"),
            "subject": text_at(record, "subject"),
            "target_new": answers[0],
            "aliases": answers[1:],
            "paraphrases": [] if rephrase is None else [rephrase],
            "neighbors": neighbors,
        }
    ]


ZSRE = Shape(
    name="zsre",
    title="zsRE",
    source="https://rome.baulab.info/data/dsets/zsre_mend_eval.json",
    recognises=lambda record: "src" in record and ("alt" in record or "answers" in record),
    facts=_facts,
    conventions={
        ALT: "the new target is alt (MEND, EasyEdit), the old one answers[0]",
        ANSWERS: "the new target is answers[0] (ROME, MEMIT); there is no old one",
    },
)
