"""Notebooks as Markdown pages: their words, their code, and what the run that is kept with them gave out."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

_NOTE: Final = "*This page is the notebook [`{name}`]({name}), which can be run against a server of your own.*"


def notebook_page(path: Path, pictures: Path) -> str:
    """Markdown of the notebook at `path`, whose pictures are written into the folder `pictures` beside it."""
    cells = json.loads(path.read_text())["cells"]
    parts: list[str] = []
    for number, cell in enumerate(cells):
        text = "".join(cell["source"]).rstrip()
        if cell["cell_type"] == "markdown":
            parts.append(text)
        elif cell["cell_type"] == "code" and text:
            parts.append(f"```python\n{text}\n```")
            parts += _outputs(cell.get("outputs", []), pictures, f"{path.stem}-{number}")
    parts.insert(1, _NOTE.format(name=path.name))
    return "\n\n".join(parts) + "\n"


def _outputs(outputs: list[Mapping[str, Any]], pictures: Path, name: str) -> Iterator[str]:
    for number, output in enumerate(outputs):
        if output["output_type"] == "stream":
            if output["name"] == "stdout":
                yield _text("".join(output["text"]))
            continue
        data = output.get("data", {})
        if "image/png" in data:
            pictures.mkdir(parents=True, exist_ok=True)
            file = pictures / f"{name}-{number}.png"
            file.write_bytes(base64.b64decode("".join(data["image/png"])))
            words = "".join(data.get("text/alt", data.get("text/plain", "")))
            yield f"![{words.replace(chr(10), ' ').strip('<>')}]({pictures.name}/{file.name})"
        elif "text/markdown" in data:
            yield "".join(data["text/markdown"])
        elif "text/plain" in data:
            yield _text("".join(data["text/plain"]))


def _text(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"
