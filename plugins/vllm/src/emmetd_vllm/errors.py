"""Why a name is not served: said in the log, never raised into vLLM."""

from __future__ import annotations


class NotServedError(Exception):
    """The message names the cause and the remedy."""


class SettingsError(NotServedError):
    """A variable of the environment cannot be used."""


class ArchiveError(NotServedError):
    """An export is damaged, or holds what no adapter of emmetd holds."""
