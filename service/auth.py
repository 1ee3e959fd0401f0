"""API keys: `Authorization: Bearer <key>`, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.errors import UnauthorizedError
from service.resources import Resources, ResourcesDependency

_bearer = HTTPBearer(auto_error=False, scheme_name="API key", description="Needed where the server has an API key.")


async def authorised(
    resources: ResourcesDependency, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Raises UnauthorizedError unless the request carries the server's API key, where it has one."""
    key = resources.settings.api_key
    if key is None:
        return
    if credentials is None:
        raise UnauthorizedError("there is no API key; send the header Authorization: Bearer <API key>")
    if not hmac.compare_digest(_digest(credentials.credentials), _digest(key.get_secret_value())):
        raise UnauthorizedError("the API key is not known here; check what EMMETD_API_KEY is on the server")


def is_admin(resources: Resources) -> bool:
    """Whether who passed `authorised` may administer: the server's one API key opens everything, no key nothing."""
    return resources.settings.api_key is not None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
