"""Everything that editing refuses to do, as one tree.

EditingError
├── UnsupportedModelError       the architecture has no row in `editing.architectures`
├── ModelLoadError              the model could not be fetched, read or converted
├── CorpusError                 ordinary text is missing, unreadable or too short
├── FingerprintMismatchError    a statistic or delta belongs to other weights
├── FactError                   one fact of a batch cannot be edited (carries its index)
│   ├── SubjectNotFoundError    the subject's last token cannot be told apart in the prompt
│   └── ContextLengthError      prompt and target are longer than the model reads
├── SingularSolveError          an equality constraint has no finite solution and `strict` was asked for
├── StatisticError              C0 is missing, of the wrong shape or not positive definite
└── EditInterrupted              the caller's `should_stop` asked to stop between two steps
"""

from __future__ import annotations


class EditingError(Exception):
    """Base of all errors raised by `editing`; `code` is stable and travels to the HTTP client."""

    code = "editing_failed"


class UnsupportedModelError(EditingError):
    code = "unsupported_model"


class ModelLoadError(EditingError):
    """A model could not be had; the message says what was tried, in order, and what to do."""

    code = "model_load_failed"


class CorpusError(EditingError):
    code = "corpus_invalid"


class FingerprintMismatchError(EditingError):
    code = "fingerprint_mismatch"


class FactError(EditingError):
    """One fact cannot be edited. `index` is its position in the batch as the caller sent it."""

    code = "fact_invalid"

    def __init__(self, index: int, field: str, message: str) -> None:
        super().__init__(f"fact {index}: {message}")
        self.index = index
        self.field = field
        self.message = message


class SubjectNotFoundError(FactError):
    code = "subject_not_found"


class ContextLengthError(FactError):
    code = "context_length_exceeded"


class SingularSolveError(EditingError):
    code = "singular_solve"


class StatisticError(EditingError):
    code = "statistic_invalid"


class EditInterrupted(EditingError):
    """The caller's `should_stop` returned true between two steps; nothing was kept."""

    code = "interrupted"
