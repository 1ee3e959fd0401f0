"""`client.deployments`: engines elsewhere that serve versions, and follow aliases."""

from __future__ import annotations

from emmetd_client._async.listing import AsyncListing, page_reader
from emmetd_client._async.transport import AsyncTransport
from emmetd_client._calls import Call, Repeat, reading
from emmetd_client.models.deployments import Deployment, DeploymentEvent, RemovedDeployment

_ONE = "/v1/deployments/{deployment_id}"


class AsyncDeployments:
    """`client.deployments`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(
        self,
        *,
        model: str,
        target: str,
        name: str | None = None,
        format: str | None = None,
        folder: str | None = None,
        key: str | None = None,
    ) -> Deployment:
        """Have the engine at `target`, "vllm+http://host:8000", serve what `model` means, from now on.

        `name` is what its own users call it; `folder` the server's deployment folder as the engine sees it; `key` the
        engine's API key, which is not shown again. Needs the scope admin.
        """
        body = {"model": model, "target": target, "name": name, "format": format, "folder": folder, "key": key}
        call = Call("POST", "/v1/deployments", reading(Deployment), body=body, repeat=Repeat.REFUSED)
        return await self._transport.send(call)

    async def get(self, deployment_id: str) -> Deployment:
        return await self._transport.send(Call("GET", _ONE, reading(Deployment), path={"deployment_id": deployment_id}))

    def list(self, *, model: str | None = None, page_size: int | None = None) -> AsyncListing[Deployment]:
        """Newest first."""
        query = {"model": model, "limit": page_size}
        return AsyncListing(self._transport, Call("GET", "/v1/deployments", page_reader(Deployment), query=query))

    def events(self, deployment_id: str, *, page_size: int | None = None) -> AsyncListing[DeploymentEvent]:
        """How it came to its state, newest first."""
        path, query = {"deployment_id": deployment_id}, {"limit": page_size}
        call = Call("GET", f"{_ONE}/events", page_reader(DeploymentEvent), path=path, query=query)
        return AsyncListing(self._transport, call)

    async def remove(self, deployment_id: str) -> RemovedDeployment:
        """The engine is told to serve its adapter no more. Needs the scope admin."""
        path = {"deployment_id": deployment_id}
        return await self._transport.send(Call("DELETE", _ONE, reading(RemovedDeployment), path=path))
