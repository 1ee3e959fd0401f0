"""Evaluates versions with this worker's model, for tasks that check or compare them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from api_schemas.facts import Fact
from api_schemas.metrics import Measurement
from editing.metrics import METRICS
from editing.metrics.evaluation import Evaluation, evaluate_versions
from editing.model.loading import LoadedModel
from editing.model.projection import Matrices
from editing.progress import ProgressCallback, ShouldStop, never, silent
from editing.readings.held_out_text import HeldOutText
from editing.readings.observations import Reading
from editing.readings.scoring import Question, score
from editing.values.chat_forms import chat_forms
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup
from workers.held_out import BASE, HeldOutReadings
from workers.statistics.layer_statistics import LayerStatistics


@dataclass
class Measuring:
    """Evaluations with the loaded model. `stream_bytes` may be kept of held-out text (`HeldOutText`), and what the base
    reads of it in `folder`, where one is given."""

    model: LoadedModel
    statistics: LayerStatistics
    stream_bytes: int = 0
    folder: Path | None = None
    _held_out: HeldOutReadings | None = field(default=None, init=False)

    def evaluate(
        self,
        matrices: Matrices,
        facts: Sequence[Fact],
        metrics: Sequence[str],
        should_stop: ShouldStop = never,
        on_progress: ProgressCallback = silent,
        *,
        seed: int = 0,
        prompted: bool | None = None,
    ) -> Evaluation:
        """The version `matrices` on `facts`; what is measured on held-out text needs no facts.

        `seed` and `prompted` are those of GE's texts (`editing.metrics.evaluation.evaluate_versions`).
        """
        (evaluation,) = self.evaluate_versions(
            [matrices], facts, metrics, should_stop, on_progress, seed=seed, prompted=prompted
        )
        return evaluation

    def evaluate_versions(
        self,
        versions: Sequence[Matrices],
        facts: Sequence[Fact],
        metrics: Sequence[str],
        should_stop: ShouldStop = never,
        on_progress: ProgressCallback = silent,
        whole_texts: bool = True,
        *,
        seed: int = 0,
        prompted: bool | None = None,
    ) -> list[Evaluation]:
        """Several versions on the same facts, which are read side by side (`editing.metrics.evaluation`)."""
        on_text = any(Reading.HELD_OUT in METRICS[name].reads for name in metrics)
        held_out = self.held_out(should_stop) if on_text else None
        in_conversation = any(METRICS[name].in_conversation for name in metrics)
        return evaluate_versions(
            self.model.decoder,
            self.model.backend_tokenizer,
            versions,
            facts,
            metrics,
            held_out=held_out.text.texts if held_out else None,
            base_held_out=held_out.at(BASE, {}, len(held_out.text), should_stop) if held_out else None,
            chat_forms=chat_forms(self.model.tokenizer) if in_conversation else (),
            whole_texts=whole_texts,
            seed=seed,
            prompted=prompted,
            on_progress=on_progress,
            should_stop=should_stop,
        )

    def measure(
        self, matrices: Matrices, facts: Sequence[Fact], metrics: Sequence[str], should_stop: ShouldStop = never
    ) -> dict[str, Measurement]:
        (evaluation,) = self.evaluate_versions([matrices], facts, metrics, should_stop, whole_texts=False)
        return evaluation.metrics

    def measure_both(
        self,
        before: Matrices,
        after: Matrices,
        facts: Sequence[Fact],
        metrics: Sequence[str],
        should_stop: ShouldStop = never,
    ) -> tuple[dict[str, Measurement], dict[str, Measurement]]:
        """Two versions side by side, of which no texts are kept."""
        was, now = self.evaluate_versions([before, after], facts, metrics, should_stop, whole_texts=False)
        return was.metrics, now.metrics

    def failing_groups(
        self,
        matrices: Matrices,
        groups: Sequence[SubjectGroup],
        contexts: Sequence[Context],
        should_stop: ShouldStop = never,
    ) -> list[int]:
        """The groups with a fact whose target is not the argmax at every one of its tokens.

        Facts are asked in their bare prompts and in the chat forms of `contexts`. One that begins a text is not edited
        in its bare prompt, where there are context texts, and is asked after each of these.
        """
        texts = [context for context in contexts if context.chat is None]
        chats = [(context, context.chat) for context in contexts if context.chat is not None]
        questions: list[tuple[int, Question]] = []
        for number, group in enumerate(groups):
            for fact in group.facts:
                bare, continued = fact.tokens.bare, fact.tokens.continued
                prompts = [bare.prompt]
                if fact.begins_text and texts:
                    prompts = [context.tokens + continued.prompt for context in texts]
                for context, form in chats:
                    asked = fact.tokens.chat[form]
                    questions.append((number, Question(context.tokens + asked.prompt, (asked.target,))))
                questions += [(number, Question(prompt, (bare.target,))) for prompt in prompts]
        scores = score(self.model.decoder, matrices, [question for _, question in questions], should_stop=should_stop)
        return sorted({number for (number, _), (answer,) in zip(questions, scores, strict=True) if not answer.said})

    def lost_groups(
        self,
        matrices: Matrices,
        groups: Sequence[SubjectGroup],
        contexts: Sequence[Context],
        should_stop: ShouldStop = never,
    ) -> list[int]:
        """Of groups edited earlier those with a fact that is not said, in its bare prompt alone: what every method
        writes, whichever forms it was edited in."""
        texts = [context for context in contexts if context.chat is None]
        return self.failing_groups(matrices, groups, texts, should_stop)

    def held_out(self, should_stop: ShouldStop = never) -> HeldOutReadings:
        """What was read of the text that drift is measured on; the text is made where there is none yet."""
        if self._held_out is None:
            texts = self.statistics.held_out(should_stop=should_stop)
            text = HeldOutText(self.model.decoder, texts, self.stream_bytes)
            name = f"base-{self.model.fingerprint[:16]}-{text.identity}.json"
            self._held_out = HeldOutReadings(text, None if self.folder is None else self.folder / name)
        return self._held_out
