"""Headers that say under which condition a batch is accepted."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="The same key with the same request gives the same job, however often it is sent.",
        json_schema_extra={"pattern": r"\S"},
    ),
]
IfMatch = Annotated[
    str | None,
    Header(
        max_length=100,
        description=(
            'The only version that it may be made on: `"v3"`. 409 where what is named means another now, or where '
            "batches that run first may move it; where it is moved later, the batch ends `failed` with `parent_moved`."
        ),
        examples=['"v3"'],
        # `EditSubmission.expected_version` reads it, and says more of what is wrong.
        json_schema_extra={"pattern": r'^(\*|"v(0|[1-9][0-9]{0,8})"|v(0|[1-9][0-9]{0,8}))$'},
    ),
]
