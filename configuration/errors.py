"""Everything that configuration refuses, as one tree.

ConfigurationError          a process cannot run as it was told to; running it again the same way cannot help
├── InvalidSettingError     one or more settings have values that cannot be used
└── ConfigFileError         the TOML file is missing, is not TOML, or sets what does not exist
"""

from __future__ import annotations

from typing import Final

CONFIGURATION_EXIT_CODE: Final = 78
"""What a process exits with on a `ConfigurationError` (EX_CONFIG in sysexits.h): a supervisor does not restart it."""


class ConfigurationError(Exception):
    """Base of all errors raised by `configuration`. The message names the setting, its value and the remedy."""


class InvalidSettingError(ConfigurationError):
    """`problems` has one sentence for each setting that cannot be used."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ConfigFileError(ConfigurationError):
    """The configuration file cannot be read as settings."""
