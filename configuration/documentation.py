"""The page on settings, made from the settings' own classes: `python -m configuration.documentation` prints it.

docs/configuration.md is its output, and a test holds the two equal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

from pydantic import ByteSize
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from configuration.settings import ENVIRONMENT_PREFIX, Settings

COMMAND: Final = "python -m configuration.documentation > docs/configuration.md"

_INTRODUCTION: Final = """\
# Configuration

<!-- Made by `{command}` from the classes in configuration/. Change them there. -->

Every process of emmetd reads the same settings. A value is taken from the first of these places that has one:

1. a flag of the command, where it has one (`emmetd serve --help`);
2. the variable in the second column;
3. a TOML file: the one that `--config` or `EMMETD_CONFIG` names, else `emmetd.toml` in the data folder;
4. the default in the third column, where – is none.

`emmetd config` prints what is in force and where each value came from, with secrets masked. A value that cannot be used
ends the start with exit code 78 and a sentence that names the setting, its value, its source and what would do.
Sizes may be written with a unit (`64MiB`).

```toml
# ~/.local/share/emmetd/emmetd.toml
model = "HuggingFaceTB/SmolLM2-360M-Instruct"
port = 9000
corpus = "articles"
retention_version_days = 90

[corpora]
articles = "/srv/text/articles.jsonl"
```

What is set where several machines share the work: [operations/growing.md](operations/growing.md). Which settings hold
secrets and how they are given: [operations/security.md](operations/security.md).
"""
_HEADER: Final = "| setting | variable | default | meaning |\n|---|---|---|---|"


def page() -> str:
    """The page, in Markdown: a section for each class that `Settings` is made of, a row for each of its fields."""
    return _INTRODUCTION.format(command=COMMAND) + "".join(map(_section, settings_classes()))


def settings_classes() -> Iterator[type[BaseSettings]]:
    """`Settings` first, then the classes that it is made of, in their order."""
    for part in Settings.__mro__:
        if issubclass(part, BaseSettings) and part is not BaseSettings:
            yield part


def _section(part: type[BaseSettings]) -> str:
    title = part.__name__.removesuffix("Settings") or "Model, store, server and limits"
    about = (sys.modules[part.__module__].__doc__ or "").partition("\n")[0] if part is not Settings else ""
    own = [name for name in Settings.model_fields if name in part.__annotations__]
    rows = [_row(name, Settings.model_fields[name]) for name in own]
    return "\n".join(["", f"## {title}", "", *([about, ""] if about else []), _HEADER, *rows, ""])


def _row(name: str, field: FieldInfo) -> str:
    meaning = (field.description or "").replace("|", r"\|")
    return f"| `{name}` | `{ENVIRONMENT_PREFIX}{name.upper()}` | {_default(field)} | {meaning} |"


def _default(field: FieldInfo) -> str:
    """The default as it would be written. Of one that is computed, the function's own description, if it has one."""
    factory: Any = field.default_factory
    if factory is not None:
        if factory.__doc__ and factory.__name__ != "<lambda>":
            return str(factory.__doc__).removesuffix(".")
        return f"`{factory({'data': 'DATA'}) if field.default_factory_takes_validated_data else factory()}`"
    value = field.default
    if isinstance(value, ByteSize):
        mebibytes, rest = divmod(int(value), 1024**2)
        return f"`{value}`" if rest else f"`{mebibytes}MiB`"
    if value is None or value in ("", {}, ()):
        return "–"
    written = str(value).replace("\n", "\\n")  # a row of the table is one line
    return f"`{written}`"


if __name__ == "__main__":
    sys.stdout.write(page())
