# Made by client/unasync.py from client.py of _async: change that one, and run it.
"""The client: one connection pool, and a resource of the API by each name."""

from __future__ import annotations

from types import TracebackType

import httpx

from emmetd_client._configuration import configured
from emmetd_client._sync.algorithms import Algorithms
from emmetd_client._sync.aliases import Aliases
from emmetd_client._sync.audit import Audit
from emmetd_client._sync.completions import Chat, Completions
from emmetd_client._sync.deployments import Deployments
from emmetd_client._sync.diffs import Diffs
from emmetd_client._sync.downstream import Downstream
from emmetd_client._sync.edits import Edits
from emmetd_client._sync.evaluations import Evaluations
from emmetd_client._sync.exports import Exports
from emmetd_client._sync.keys import Keys
from emmetd_client._sync.models import Models
from emmetd_client._sync.operations import Operations
from emmetd_client._sync.statistics import Corpora, Statistics
from emmetd_client._sync.tokenization import Tokenization
from emmetd_client._sync.transport import Transport
from emmetd_client._sync.versions import Versions
from emmetd_client._sync.webhooks import Webhooks


class Emmetd:
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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        configuration = configured(base_url, api_key, timeout, retries)
        # Following redirects could carry the key to another server. Reading the machine's certificates takes long,
        # and http needs none.
        encrypted = configuration.base_url.startswith("https:")
        http = httpx.Client(transport=transport, follow_redirects=False, verify=encrypted)
        self._transport = Transport(configuration, http)
        self.algorithms = Algorithms(self._transport)
        self.aliases = Aliases(self._transport)
        self.audit = Audit(self._transport)
        self.chat = Chat(self._transport)
        self.completions = Completions(self._transport)
        self.corpora = Corpora(self._transport)
        self.deployments = Deployments(self._transport)
        self.diffs = Diffs(self._transport)
        self.downstream = Downstream(self._transport)
        self.edits = Edits(self._transport)
        self.evaluations = Evaluations(self._transport)
        self.exports = Exports(self._transport)
        self.keys = Keys(self._transport)
        self.models = Models(self._transport)
        self.operations = Operations(self._transport)
        self.statistics = Statistics(self._transport)
        self.tokenization = Tokenization(self._transport)
        self.versions = Versions(self._transport)
        self.webhooks = Webhooks(self._transport)

    @property
    def base_url(self) -> str:
        return self._transport.configuration.base_url

    @property
    def api_key(self) -> str | None:
        return self._transport.configuration.api_key

    def close(self) -> None:
        """Close its connections; `with` does it by itself."""
        self._transport.close()

    def __enter__(self) -> Emmetd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"
