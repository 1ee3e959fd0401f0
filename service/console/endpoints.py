"""`/`, where the console is, and the files that it loads. Not part of the API's document."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from service.console.pages import INDEX, Page, pages
from service.errors import PageNotFoundError

router = APIRouter(include_in_schema=False)

_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ASK_AGAIN: Final = "no-cache"


@router.get("/")
async def index(request: Request) -> Response:
    """The page names its files by their hashes: an old one kept would ask for files that are gone."""
    return _answer(request, pages()[INDEX], _ASK_AGAIN)


@router.get("/console/{file}")
async def file(request: Request, file: Annotated[str, Path(max_length=200)]) -> Response:
    """Raises PageNotFoundError."""
    page = pages().get(file)
    if page is None or file == INDEX:
        raise PageNotFoundError(f"there is nothing at {request.url.path[:200]}; the console is at /")
    return _answer(request, page, _FOR_EVER)


def _answer(request: Request, page: Page, keep: str) -> Response:
    headers = {"Cache-Control": keep, "ETag": page.etag, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == page.etag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(page.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=page.media_type)
    return Response(page.content, headers=headers, media_type=page.media_type)
