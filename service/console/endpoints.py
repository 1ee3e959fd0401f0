"""`/`, where the console is, and the files that it loads. Not part of the API's document."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from service.console.pages import INDEX, pages
from service.errors import PageNotFoundError
from service.http.pages import ASK_AGAIN, FOR_EVER, answer

router = APIRouter(include_in_schema=False)


@router.get("/")
async def index(request: Request) -> Response:
    """The page names its files by their hashes: an old one kept would ask for files that are gone."""
    return answer(request, pages()[INDEX], ASK_AGAIN)


@router.get("/console/{file}")
async def file(request: Request, file: Annotated[str, Path(max_length=200)]) -> Response:
    """Raises PageNotFoundError."""
    page = pages().get(file)
    if page is None or file == INDEX:
        raise PageNotFoundError(f"there is nothing at {request.url.path[:200]}; the console is at /")
    return answer(request, page, FOR_EVER)
