"""The application: its routes, middleware and lifespan."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

import structlog
from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware

from configuration import tracing
from configuration.settings import Settings
from service import openapi
from service.access.rules import check_routes
from service.algorithms import endpoints as algorithms
from service.audit import endpoints as audit
from service.auth import authorised
from service.chat import endpoints as chat
from service.completions import endpoints as completions
from service.console import endpoints as console
from service.consolidations import endpoints as consolidations
from service.deployments import endpoints as deployments
from service.deployments.reconciler import reconciling
from service.diffs import endpoints as diffs
from service.downstream import endpoints as downstream
from service.edits import endpoints as edits
from service.errors import UnavailableError
from service.evaluations import endpoints as evaluations
from service.exports import endpoints as exports
from service.http import problems
from service.http.body_limits import BodyLimit
from service.http.problems import responses
from service.http.request_log import RequestLog
from service.http.request_trace import RequestTrace
from service.http.security_headers import SecurityHeaders
from service.keys import endpoints as keys
from service.metrics import ServiceMetrics
from service.models import alias_request_endpoints as alias_requests
from service.models import endpoints as models
from service.models import notes, registration
from service.operations import endpoints as operations
from service.reference import endpoints as reference
from service.resources import open_resources
from service.reverts import endpoints as reverts
from service.statistics import endpoints as statistics
from service.tokenization import endpoints as tokenization
from service.webhooks import endpoints as webhooks

# Keys travel in a header that scripts set themselves: no cookies, so no credentials of the browser's.
_CORS: Final[dict[str, Any]] = {
    "allow_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
    "allow_headers": [
        "Authorization",
        "Content-Type",
        "Idempotency-Key",
        "If-Match",
        "Last-Event-ID",
        "Prefer",
        "X-Request-ID",
        "traceparent",
        "tracestate",
    ],
    "expose_headers": ["ETag", "Location", "Retry-After", "X-Emmetd-Version", "X-Request-ID"],
}

log = structlog.get_logger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """An application of its own. Connections are opened when it starts and closed when it ends."""
    metrics = ServiceMetrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with tracing.running(settings, "api"):
            async with open_resources(settings, metrics) as resources, reconciling(resources):
                app.state.resources = resources
                # What lives as long as the process need not be walked at each collection: a pause of some 150 ms.
                gc.collect()
                gc.freeze()
                log.info("the API has started")
                yield
                log.info("the API stops")

    app = FastAPI(
        title="emmetd",
        version=version("emmetd"),
        summary="Correct facts inside a running language model.",
        description=openapi.DESCRIPTION,
        openapi_tags=openapi.TAGS,
        lifespan=lifespan,
        separate_input_output_schemas=False,
        redirect_slashes=False,
        docs_url=None,  # ours load nothing from elsewhere
        redoc_url=None,
        dependencies=[Depends(authorised)],
    )
    problems.install(app)
    for resource in (
        edits,
        models,
        registration,
        notes,
        alias_requests,
        reverts,
        consolidations,
        diffs,
        downstream,
        exports,
        evaluations,
        statistics,
        algorithms,
        audit,
        keys,
        deployments,
        webhooks,
    ):
        app.include_router(resource.router, responses=responses(UnavailableError))
    for resource in (completions, chat, tokenization):
        app.include_router(resource.router)
    app.include_router(operations.router)
    app.include_router(console.router)
    app.include_router(reference.router)
    check_routes(app)
    openapi.install(app)
    # Added last is outermost: a body that is too large is logged too, and a refusal has its headers.
    app.add_middleware(BodyLimit, largest=int(settings.max_body_bytes))
    if settings.allowed_origins:
        app.add_middleware(CORSMiddleware, allow_origins=settings.allowed_origins, **_CORS)
    app.add_middleware(RequestLog, metrics=metrics)
    if tracing.endpoint_of(settings) is not None:
        app.add_middleware(RequestTrace)
    app.add_middleware(SecurityHeaders)
    return app
