"""Text that is kept or shown: Unicode that UTF-8 and every database can write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_after_validator_function

NO_NUL: Final = r"^[^\u0000]*$"
"""For schemas: PostgreSQL keeps no NUL character."""
NOT_BLANK: Final = r"^[^\u0000]*[^\s\u0000][^\u0000]*$"


def clean(text: str) -> str:
    """`text` as it is. Raises ValueError for what cannot be kept: NUL characters and halves of surrogate pairs."""
    if not text.isascii() and any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise ValueError("holds an unpaired surrogate; send valid Unicode text")
    if "\x00" in text:
        raise ValueError("holds a NUL character; remove it")
    return text


def printable(text: str) -> str:
    """`text` with unpaired surrogates written as escapes, so that it can be told to whoever sent it."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class Clean:
    """In an annotation, behind limits of length: what `clean` refuses is refused."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(clean, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "pattern": NO_NUL}


PromptText = Annotated[str, Field(max_length=1_000_000)]
"""What a model goes on from, NUL characters too. The limit is far beyond any context, and keeps tokenizers from being
busy for minutes with what is refused then; having one, pydantic looks at the text and refuses halves of pairs."""
PrintableText = Annotated[str, BeforeValidator(printable)]

Label = Annotated[str, StringConstraints(max_length=200), Clean()]
"""What people call something, or why they did it."""
FilledLabel = Annotated[
    str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"), Clean()
]
"""One that may not be blank, on one line."""
