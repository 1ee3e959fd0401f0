"""The Python client of emmetd: correct facts inside a running language model, ask any version, measure it, go back.

from emmetd_client import Emmetd

client = Emmetd()
job = client.edits.create(model="smollm2-135m", facts=[{"prompt": "…{}…", "subject": "…", "target_new": "…"}])
job.wait(on_progress=True)
print(client.completions.create(model=job.reference, prompt="…").text)
"""

from __future__ import annotations

from emmetd_client._async.client import AsyncEmmetd
from emmetd_client._async.edits import AsyncEdit
from emmetd_client._async.evaluations import AsyncEvaluation
from emmetd_client._async.listing import AsyncListing
from emmetd_client._async.statistics import AsyncStatistic
from emmetd_client._configuration import CLIENT_VERSION
from emmetd_client._facts import FactInput, FactsFile, from_dataframe, read_facts
from emmetd_client._server import ServerInfo
from emmetd_client._sync.client import Emmetd
from emmetd_client._sync.edits import Edit
from emmetd_client._sync.evaluations import Evaluation
from emmetd_client._sync.listing import Listing
from emmetd_client._sync.statistics import Statistic
from emmetd_client._tables import Table, downstream_table, lineage_table, version_table, versions_table
from emmetd_client.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    ConnectionFailedError,
    EmmetdError,
    FactsError,
    FieldError,
    InvalidFieldsError,
    JobCancelledError,
    JobEndedError,
    JobFailedError,
    JobRejectedError,
    NotFoundError,
    NotOfferedError,
    PermissionDeniedError,
    RateLimitError,
    ScopeMissingError,
    ServerError,
    TimedOutError,
    TooLargeError,
    UnavailableError,
    UnexpectedAnswerError,
    WaitTimedOutError,
)
from emmetd_client.models.deployments import Deployment, DeploymentCheck, DeploymentEvent
from emmetd_client.models.downstream import DownstreamResult
from emmetd_client.models.edits import EditData, EditEvent, EditProgress
from emmetd_client.models.evaluations import EvaluationData, EvaluationRow
from emmetd_client.models.facts import Fact, KeptFact, Neighbor, VersionFact
from emmetd_client.models.jobs import Job, Progress
from emmetd_client.models.metrics import BatchMetrics, Measurement
from emmetd_client.models.operations import ExportedFile
from emmetd_client.models.statistics import Corpus, StatisticData
from emmetd_client.models.versions import Alias, AliasRequest, LineageEntry, ModelCard, Version, VersionDiff
from emmetd_client.models.webhooks import Webhook, WebhookDelivery

__version__ = CLIENT_VERSION

__all__ = [
    "APIError",
    "Alias",
    "AliasRequest",
    "AsyncEdit",
    "AsyncEmmetd",
    "AsyncEvaluation",
    "AsyncListing",
    "AsyncStatistic",
    "AuthenticationError",
    "BadRequestError",
    "BatchMetrics",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "Corpus",
    "Deployment",
    "DeploymentCheck",
    "DeploymentEvent",
    "DownstreamResult",
    "Edit",
    "EditData",
    "EditEvent",
    "EditProgress",
    "Emmetd",
    "EmmetdError",
    "Evaluation",
    "EvaluationData",
    "EvaluationRow",
    "ExportedFile",
    "Fact",
    "FactInput",
    "FactsError",
    "FactsFile",
    "FieldError",
    "InvalidFieldsError",
    "Job",
    "JobCancelledError",
    "JobEndedError",
    "JobFailedError",
    "JobRejectedError",
    "KeptFact",
    "LineageEntry",
    "Listing",
    "Measurement",
    "ModelCard",
    "Neighbor",
    "NotFoundError",
    "NotOfferedError",
    "PermissionDeniedError",
    "Progress",
    "RateLimitError",
    "ScopeMissingError",
    "ServerError",
    "ServerInfo",
    "Statistic",
    "StatisticData",
    "Table",
    "TimedOutError",
    "TooLargeError",
    "UnavailableError",
    "UnexpectedAnswerError",
    "Version",
    "VersionDiff",
    "VersionFact",
    "WaitTimedOutError",
    "Webhook",
    "WebhookDelivery",
    "__version__",
    "downstream_table",
    "from_dataframe",
    "lineage_table",
    "read_facts",
    "version_table",
    "versions_table",
]
