"""`emmetd config`: what the settings are, and where each came from."""

from __future__ import annotations

import json

import typer

from cli.terminal.options import ApiKey, ConfigFile, DataFolder, Host, ModelName, ModelRef, Port, Revision


def config(
    model: ModelRef = None,
    model_name: ModelName = None,
    revision: Revision = None,
    data: DataFolder = None,
    host: Host = None,
    port: Port = None,
    api_key: ApiKey = None,
    config: ConfigFile = None,
) -> None:
    """Print the settings that the other commands would use, as TOML, with secrets masked.

    \b
    Examples:
      emmetd config
      EMMETD_PORT=9000 emmetd config --data /srv/emmetd
    """
    from configuration.settings import ENVIRONMENT_PREFIX, load_settings
    from configuration.sources import origin

    flags = {
        "model": model,
        "model_name": model_name,
        "revision": revision,
        "data": data,
        "host": host,
        "port": port,
        "api_key": api_key,
        "config": config,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    settings = load_settings(**given)
    for name, value in settings.masked().items():
        source = origin(name, given, ENVIRONMENT_PREFIX) if name in settings.model_fields_set else "default"
        shown = f"# {name} is not set" if value is None else f"{name} = {json.dumps(value)}  # {source}"
        typer.echo(shown)
