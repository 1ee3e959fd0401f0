"""Facts that a batch is accepted without, where its sender asked for that."""

from __future__ import annotations

import re
from typing import Any, Final, Never

from api_schemas.problems import FieldProblem
from service.errors import MOST_ERRORS_SHOWN, InvalidFieldsError
from service.http.fields import FieldErrors

_LONGEST_MESSAGE: Final = 400


class LeftOut(FieldErrors):
    """Takes what is wrong with single facts, of each the first; what is wrong with all of them is refused at once."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: dict[int, FieldProblem] = {}

    def add(self, loc: str, msg: str, kind: type[InvalidFieldsError] = InvalidFieldsError) -> None:
        found = re.match(r"facts\[(\d+)\]", loc)
        if found is None:
            raise kind([FieldProblem(loc=loc, msg=msg)])
        short = msg if len(msg) <= _LONGEST_MESSAGE else f"{msg[: _LONGEST_MESSAGE - 1]}…"
        self.facts.setdefault(int(found[1]), FieldProblem(loc=loc, msg=short))

    @property
    def is_full(self) -> bool:
        """Never: every fact is looked at, for what is not wrong is edited."""
        return False

    def kept(self) -> list[dict[str, Any]]:
        """In the order of the request, as the batch's row has it."""
        return [{"index": index, **problem.model_dump()} for index, problem in sorted(self.facts.items())]

    def raise_all(self) -> Never:
        """None is right: all of it is refused. Raises InvalidFieldsError."""
        problems = [problem for _, problem in sorted(self.facts.items())]
        raise InvalidFieldsError(problems[:MOST_ERRORS_SHOWN], len(problems))
