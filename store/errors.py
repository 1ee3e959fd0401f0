"""Everything that the store refuses, as one tree.

StoreError
├── NotFoundError
│   ├── ModelNotFoundError
│   ├── VersionNotFoundError       a version number or an alias
│   ├── BatchNotFoundError
│   ├── EvaluationNotFoundError
│   ├── ExportNotFoundError
│   ├── BundleNotFoundError
│   ├── StatisticNotFoundError
│   ├── DeploymentNotFoundError
│   ├── WebhookNotFoundError
│   ├── AliasRequestNotFoundError
│   └── KeyNotFoundError           an API key
├── ConflictError
│   ├── AliasMovedError            compare and set failed
│   ├── ParentMovedError           the line's alias no longer points at the batch's parent
│   ├── AliasReservedError         `latest` cannot be deleted, `v7` cannot be an alias
│   ├── AliasLimitError            a model has as many aliases as it may have
│   ├── AliasProtectedError        only an administrator moves this alias
│   ├── WebhookLimitError          there are as many webhooks as there may be
│   ├── NotesChangedError          somebody else changed description or tags meanwhile
│   ├── AliasApprovalError         another key must approve that change of an alias
│   ├── SameKeyError               whoever asked cannot approve
│   ├── AliasRequestClosedError    it was decided, or its time is over
│   ├── AliasRequestLimitError     an alias has as many requests as may wait
│   ├── NotInLineageError          what shall be taken out is not in the version, or not any more
│   ├── NameClashError             a version from elsewhere has a name that is another's here
│   ├── DeploymentExistsError      the engine is served that name by another deployment
│   ├── DeploymentLimitError       there are as many deployments as there may be
│   ├── VersionNeededError         an alias, a later version or running work needs what shall be deleted
│   ├── FactsRemovedError          the texts that a revert, a consolidation or an evaluation needs were removed
│   ├── NothingToConsolidateError  the base, or a version that says no fact
│   ├── TooManyFactsError          a version says more facts than one batch may have
│   ├── ConsolidationRunsError     that version is being consolidated already
│   ├── VersionUnavailableError    a blob of the version's lineage is missing or damaged
│   ├── RegistrationConflictError  the name is registered with another model, or another revision of it
│   ├── FingerprintConflictError   a worker's model is not the one that the name is bound to
│   └── IdempotencyConflictError   the key was used with another body
├── LeaseLostError                 another worker holds the task now; this one's work must not be committed
├── QueueFullError
├── CursorError
├── DatabaseRefusedError           it never will answer with this URL: a wrong password, user, name or option
├── DatabaseAwayError              it did not answer in time
├── BackupError                    a backup is damaged, is none, or cannot be made there
│   └── RestoreRefusedError        the place to restore it to is not empty, or not this release's
├── BundleCorruptError             a bundle of versions is damaged, or is none
└── BlobError
    ├── BlobMissingError
    ├── BlobCorruptError
    └── BlobStoreAwayError         it does not answer, or refuses; trying again may help
"""

from __future__ import annotations


class StoreError(Exception):
    """Base of all errors raised by `versions`; `code` is stable and travels to the HTTP client."""

    code = "store_error"


class NotFoundError(StoreError):
    code = "not_found"


class ModelNotFoundError(NotFoundError):
    code = "model_not_found"


class VersionNotFoundError(NotFoundError):
    code = "version_not_found"


class BatchNotFoundError(NotFoundError):
    code = "edit_not_found"


class EvaluationNotFoundError(NotFoundError):
    code = "evaluation_not_found"


class BundleNotFoundError(NotFoundError):
    code = "bundle_not_found"


class ExportNotFoundError(NotFoundError):
    code = "export_not_found"


class StatisticNotFoundError(NotFoundError):
    code = "statistic_not_found"


class DeploymentNotFoundError(NotFoundError):
    code = "deployment_not_found"


class WebhookNotFoundError(NotFoundError):
    code = "webhook_not_found"


class AliasRequestNotFoundError(NotFoundError):
    code = "alias_request_not_found"


class KeyNotFoundError(NotFoundError):
    code = "key_not_found"


class ConflictError(StoreError):
    code = "conflict"


class AliasMovedError(ConflictError):
    code = "alias_moved"


class ParentMovedError(ConflictError):
    code = "parent_moved"


class AliasReservedError(ConflictError):
    code = "alias_reserved"


class AliasLimitError(ConflictError):
    code = "alias_limit"


class AliasProtectedError(ConflictError):
    code = "alias_protected"


class WebhookLimitError(ConflictError):
    code = "webhook_limit"


class NotesChangedError(ConflictError):
    code = "notes_changed"


class AliasApprovalError(ConflictError):
    code = "alias_needs_approval"


class SameKeyError(ConflictError):
    code = "same_key"


class AliasRequestClosedError(ConflictError):
    code = "alias_request_closed"


class AliasRequestLimitError(ConflictError):
    code = "alias_request_limit"


class AliasGuardedError(ConflictError):
    code = "alias_guarded"


class NotInLineageError(ConflictError):
    code = "not_in_lineage"


class NameClashError(ConflictError):
    code = "name_clash"


class DeploymentExistsError(ConflictError):
    code = "deployment_exists"


class DeploymentLimitError(ConflictError):
    code = "deployment_limit"


class VersionNeededError(ConflictError):
    code = "version_needed"


class VersionUnavailableError(ConflictError):
    code = "version_unavailable"


class FactsRemovedError(ConflictError):
    code = "facts_removed"


class NothingToConsolidateError(ConflictError):
    code = "nothing_to_consolidate"


class TooManyFactsError(ConflictError):
    code = "too_many_facts"


class ConsolidationRunsError(ConflictError):
    code = "consolidation_runs"


class RegistrationConflictError(ConflictError):
    code = "registration_conflict"


class FingerprintConflictError(ConflictError):
    code = "fingerprint_mismatch"


class IdempotencyConflictError(ConflictError):
    code = "idempotency_key_reused"


class LeaseLostError(StoreError):
    code = "lease_lost"


class QueueFullError(StoreError):
    code = "queue_full"


class CursorError(StoreError):
    code = "invalid_cursor"


class BundleCorruptError(StoreError):
    code = "bundle_corrupt"


class DatabaseRefusedError(StoreError):
    code = "database_refused"


class DatabaseAwayError(StoreError):
    code = "database_away"


class BackupError(StoreError):
    code = "backup_failed"


class RestoreRefusedError(BackupError):
    code = "restore_refused"


class BlobError(StoreError):
    code = "blob_error"


class BlobMissingError(BlobError):
    code = "blob_missing"


class BlobCorruptError(BlobError):
    code = "blob_corrupt"


class BlobStoreAwayError(BlobError):
    code = "blob_store_away"
