"""The least that a POST with one commit can be in FastAPI: what `tests.acceptance.overhead` holds the service against.

BARE_DATABASE_URL=sqlite:////tmp/bare.sqlite3 uvicorn tests.acceptance.bare_handler:app
"""

from __future__ import annotations

import os
import uuid
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import JSON, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class BareBase(DeclarativeBase):
    pass


class NoteRow(BareBase):
    __tablename__ = "notes"

    id: Mapped[str] = mapped_column(primary_key=True)
    body: Mapped[dict[str, Any]] = mapped_column(JSON)


class BareFact(BaseModel):
    prompt: str
    subject: str
    target_new: str
    target_old: str | None = None


class Note(BaseModel):
    """Takes the body of an edit."""

    model: str
    facts: list[BareFact]
    settings: dict[str, Any] = {}
    thresholds: dict[str, float] = {}
    dry_run: bool = False


class Kept(BaseModel):
    id: str


engine = create_engine(os.environ["BARE_DATABASE_URL"])
if engine.dialect.name == "sqlite":

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # As the service has it: what was committed is on the disk.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")


BareBase.metadata.create_all(engine)
app = FastAPI()


@app.post("/notes", status_code=202)
def keep(note: Note) -> Kept:
    row = NoteRow(id=uuid.uuid4().hex, body=note.model_dump())
    with Session(engine) as session:
        session.add(row)
        session.commit()
        return Kept(id=row.id)
