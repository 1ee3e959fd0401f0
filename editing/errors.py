"""Everything that editing refuses to do, as one tree.

EditingError
├── UnsupportedModelError       the architecture has no row in `editing.architectures`
├── ModelLoadError              the model could not be fetched, read or converted
│   ├── UnknownRevisionError    the hub has the model, but not this branch, tag or commit of it
│   └── HubAwayError            the hub does not answer, or not now; trying again may help
├── CorpusError                 ordinary text is missing, unreadable or too short
├── FingerprintMismatchError    a statistic or delta belongs to other weights
├── FactError                   one fact of a batch cannot be edited (carries its index)
│   ├── SubjectNotFoundError    the subject's last token cannot be told apart in the prompt
│   └── FactLengthError         prompt and target are longer than the model reads
├── SingularSolveError          an equality constraint has no finite solution and `strict` was asked for
├── ValuesNotFiniteError        the model's numbers overflow for some facts, so that no value was found for them
├── StatisticError              C0 is missing, of the wrong shape or not positive definite
└── EditInterrupted              the caller's `should_stop` asked to stop between two steps
"""

from __future__ import annotations

from collections.abc import Sequence


class EditingError(Exception):
    """Base of all errors raised by `editing`; `code` is stable and travels to the HTTP client.

    `facts` are those it is about, by their positions in the batch as the caller sent it.
    """

    code = "editing_failed"
    facts: tuple[int, ...] = ()


class UnsupportedModelError(EditingError):
    code = "unsupported_model"


class ModelLoadError(EditingError):
    """A model could not be had; the message says what was tried, in order, and what to do."""

    code = "model_load_failed"


class UnknownRevisionError(ModelLoadError):
    code = "unknown_revision"


class HubAwayError(ModelLoadError):
    code = "hub_unavailable"


class CorpusError(EditingError):
    code = "corpus_invalid"


class FingerprintMismatchError(EditingError):
    code = "fingerprint_mismatch"


class FactError(EditingError):
    """One fact cannot be edited. `index` is its position in the batch as the caller sent it, as in `facts`."""

    code = "fact_invalid"

    def __init__(self, index: int, field: str, message: str) -> None:
        super().__init__(f"fact {index}: {message}")
        self.index = index
        self.facts = (index,)
        self.field = field
        self.message = message


class SubjectNotFoundError(FactError):
    code = "subject_not_found"


class FactLengthError(FactError):
    code = "context_length_exceeded"


class SingularSolveError(EditingError):
    """`alike`: the two keys, by column, that are the most alike, and their cosine; None where keys are too many."""

    code = "singular_solve"

    def __init__(self, problem: str, remedy: str, alike: tuple[int, int, float] | None = None) -> None:
        self.problem, self.remedy, self.alike = problem, remedy, alike
        super().__init__(self._said("keys {} and {}", alike[:2] if alike else ()))

    def about(self, facts_of_keys: Sequence[Sequence[int]]) -> SingularSolveError:
        """The same of the facts that the keys belong to, `facts_of_keys` by column."""
        error = SingularSolveError(self.problem, self.remedy, self.alike)
        if self.alike is not None:
            first, second = (facts_of_keys[key] for key in self.alike[:2])
            error.args = (self._said("those of facts {} and of facts {}", [_listed(first), _listed(second)]),)
            error.facts = tuple(sorted({*first, *second}))
        return error

    def _said(self, names: str, of: Sequence[object]) -> str:
        if self.alike is None:
            return f"{self.problem}. {self.remedy}"
        return f"{self.problem}; {names.format(*of)} are the most alike (cosine {self.alike[2]:.6f}). {self.remedy}"


def _listed(indices: Sequence[int]) -> str:
    return ", ".join(map(str, indices))


class ValuesNotFiniteError(EditingError):
    code = "values_not_finite"

    def __init__(self, message: str, facts: Sequence[int]) -> None:
        super().__init__(f"facts {_listed(facts)}: {message}")
        self.facts = tuple(facts)


class StatisticError(EditingError):
    code = "statistic_invalid"


class EditInterrupted(EditingError):
    """The caller's `should_stop` returned true between two steps; nothing was kept."""

    code = "interrupted"
