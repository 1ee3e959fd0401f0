"""The settings about the database beside its URL. How many connections that makes is in docs/operations/growing.md."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings


class DatabaseSettings(BaseSettings):
    """Part of `Settings`."""

    database_wait_seconds: float = Field(
        600,
        ge=0,
        description="seconds that `emmetd migrate`, and so `emmetd serve`, waits for a database that is away",
    )
    database_connections: int = Field(
        30,
        ge=4,
        description="connections to the database that one API process has open, at most, beside 5 that look at keys",
    )
    database_worker_connections: int = Field(
        10, ge=4, description="connections to the database that one worker has open, at most"
    )
