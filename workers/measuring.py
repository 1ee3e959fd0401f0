"""Evaluates versions with this worker's model, for tasks that check or compare them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from api_schemas.facts import Fact
from api_schemas.metrics import Measurement
from editing.metrics import METRICS
from editing.metrics.evaluation import Evaluation, evaluate
from editing.model.loading import LoadedModel
from editing.model.projection import Matrices
from editing.progress import ProgressCallback, ShouldStop, never, silent
from editing.readings.observations import HeldOutReading, Reading
from editing.readings.perplexity import held_out_reading
from editing.readings.scoring import Question, score
from editing.values.chat_forms import chat_forms
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup
from workers.statistics.layer_statistics import LayerStatistics


@dataclass
class Measuring:
    """Evaluations with the loaded model; the base's held-out text is read once in the worker's life."""

    model: LoadedModel
    statistics: LayerStatistics
    base_held_out: HeldOutReading | None = field(default=None, init=False)
    """The base's reading of the held-out text, once there is one."""

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

        `seed` and `prompted` are those of GE's texts (`editing.metrics.evaluation.evaluate`).
        """
        on_text = any(Reading.HELD_OUT in METRICS[name].reads for name in metrics)
        in_conversation = any(METRICS[name].in_conversation for name in metrics)
        return evaluate(
            self.model.decoder,
            self.model.backend_tokenizer,
            matrices,
            facts,
            metrics,
            held_out=self.statistics.held_out(should_stop=should_stop) if on_text else None,
            base_held_out=self._base(should_stop) if on_text else None,
            chat_forms=chat_forms(self.model.tokenizer) if in_conversation else (),
            seed=seed,
            prompted=prompted,
            on_progress=on_progress,
            should_stop=should_stop,
        )

    def measure(
        self, matrices: Matrices, facts: Sequence[Fact], metrics: Sequence[str], should_stop: ShouldStop = never
    ) -> dict[str, Measurement]:
        return self.evaluate(matrices, facts, metrics, should_stop).metrics

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

    def _base(self, should_stop: ShouldStop) -> HeldOutReading:
        if self.base_held_out is None:
            held_out = self.statistics.held_out(should_stop=should_stop)
            self.base_held_out = held_out_reading(self.model.decoder, {}, held_out, should_stop=should_stop)
        return self.base_held_out
