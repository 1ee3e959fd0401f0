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
        description='Accept it only while what is named means this version, else answer 409: `"v3"`.',
        examples=['"v3"'],
        # `Submission.expected_version` reads it, and says more of what is wrong.
        json_schema_extra={"pattern": r'^(\*|"v(0|[1-9][0-9]{0,8})"|v(0|[1-9][0-9]{0,8}))$'},
    ),
]
