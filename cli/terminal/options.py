"""The options that several commands share. Each overrides its `EMMETD_*` variable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="TOML file with settings.", show_default="emmetd.toml in the data folder"
    ),
]
ModelRef = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="REF", help="A known name, a Hugging Face hub id or a folder.", show_default="smollm2-135m"
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option("--model-name", metavar="NAME", help="What requests call the model.", show_default="from the model"),
]
Revision = Annotated[
    str | None,
    typer.Option(
        "--revision",
        metavar="REV",
        help="Branch, tag or commit on the hub.",
        show_default="as registered",
    ),
]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="Folder for database, blobs and models.", show_default="~/.local/share/emmetd"
    ),
]
Host = Annotated[
    str | None, typer.Option("--host", metavar="H", help="Address to listen on.", show_default="127.0.0.1")
]
Port = Annotated[
    int | None, typer.Option("--port", metavar="P", help="Port to listen on; 0 takes a free one.", show_default="8000")
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key", metavar="K", help="Key that requests must carry. Others can see flags: prefer EMMETD_API_KEY."
    ),
]
