"""The client: one connection pool, and a resource of the API by each name."""

from __future__ import annotations

from types import TracebackType

import httpx

from emmetd_client._async.algorithms import AsyncAlgorithms
from emmetd_client._async.aliases import AsyncAliases
from emmetd_client._async.audit import AsyncAudit
from emmetd_client._async.completions import AsyncChat, AsyncCompletions
from emmetd_client._async.deployments import AsyncDeployments
from emmetd_client._async.diffs import AsyncDiffs
from emmetd_client._async.downstream import AsyncDownstream
from emmetd_client._async.edits import AsyncEdits
from emmetd_client._async.evaluations import AsyncEvaluations
from emmetd_client._async.exports import AsyncExports
from emmetd_client._async.keys import AsyncKeys
from emmetd_client._async.models import AsyncModels
from emmetd_client._async.operations import AsyncOperations
from emmetd_client._async.statistics import AsyncCorpora, AsyncStatistics
from emmetd_client._async.tokenization import AsyncTokenization
from emmetd_client._async.transport import AsyncTransport
from emmetd_client._async.versions import AsyncVersions
from emmetd_client._async.webhooks import AsyncWebhooks
from emmetd_client._configuration import configured


class AsyncEmmetd:
    """A server of emmetd.

    `base_url` is EMMETD_URL where it is left out, else http://127.0.0.1:8000; `api_key` is EMMETD_API_KEY. `timeout`
    is for a whole answer, in seconds; `retries` is how often a request is sent again where that is safe. `transport`
    replaces the network, for tests.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = 60.0,
        retries: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        configuration = configured(base_url, api_key, timeout, retries)
        # Following redirects could carry the key to another server. Reading the machine's certificates takes long,
        # and http needs none.
        encrypted = configuration.base_url.startswith("https:")
        http = httpx.AsyncClient(transport=transport, follow_redirects=False, verify=encrypted)
        self._transport = AsyncTransport(configuration, http)
        self.algorithms = AsyncAlgorithms(self._transport)
        self.aliases = AsyncAliases(self._transport)
        self.audit = AsyncAudit(self._transport)
        self.chat = AsyncChat(self._transport)
        self.completions = AsyncCompletions(self._transport)
        self.corpora = AsyncCorpora(self._transport)
        self.deployments = AsyncDeployments(self._transport)
        self.diffs = AsyncDiffs(self._transport)
        self.downstream = AsyncDownstream(self._transport)
        self.edits = AsyncEdits(self._transport)
        self.evaluations = AsyncEvaluations(self._transport)
        self.exports = AsyncExports(self._transport)
        self.keys = AsyncKeys(self._transport)
        self.models = AsyncModels(self._transport)
        self.operations = AsyncOperations(self._transport)
        self.statistics = AsyncStatistics(self._transport)
        self.tokenization = AsyncTokenization(self._transport)
        self.versions = AsyncVersions(self._transport)
        self.webhooks = AsyncWebhooks(self._transport)

    @property
    def base_url(self) -> str:
        return self._transport.configuration.base_url

    @property
    def api_key(self) -> str | None:
        return self._transport.configuration.api_key

    async def close(self) -> None:
        """Close its connections; `async with` does it by itself."""
        await self._transport.close()

    async def __aenter__(self) -> AsyncEmmetd:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"
