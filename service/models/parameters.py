"""Path parameters that name a model and a version."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

Name = Annotated[str, Path(max_length=200, description="A model's NAME.", examples=["smollm2-135m"])]
Version = Annotated[str, Path(max_length=70, description="A version or an alias.", examples=["v1"])]
