"""Writes the OpenAPI document of this release: `python -m service > docs/openapi.json`."""

from __future__ import annotations

import sys

from configuration.settings import Settings
from service.app import create_app
from service.openapi import render

sys.stdout.buffer.write(render(create_app(Settings())))
