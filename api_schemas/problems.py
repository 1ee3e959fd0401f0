"""RFC 9457 problem details, as our own resources answer errors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from api_schemas.texts import PrintableText


class FieldProblem(BaseModel):
    """`loc` is the path of the field in the request, such as `facts[17].subject`."""

    loc: PrintableText
    msg: PrintableText


class Problem(BaseModel):
    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: PrintableText
    code: str
    instance: str | None = None
    errors: list[FieldProblem] | None = None
