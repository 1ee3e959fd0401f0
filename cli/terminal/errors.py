"""Everything that makes a command of `emmetd` give up, as one tree.

CliError                    the command cannot go on; `exit_code` is what the process exits with
├── DataFolderError         the data folder cannot be written, or another `emmetd serve` works in it
├── PortInUseError          something else listens on the address
├── ServerSaidNoError       a command that asks a server could not have what it asked for; `exit_code` says why
├── HarnessError            the program that shall measure a version cannot be had, or failed
├── InputFileError          a file that a command reads or writes is missing or not what it should be
├── InterruptedCommandError somebody pressed Ctrl-C
├── RedisBinaryError        no Redis-protocol server that could run here was found
├── RedisStartError         the private Redis-protocol server did not answer
└── ChildFailedError        a supervised process died and restarting it does not help
"""

from __future__ import annotations


class CliError(Exception):
    """Base of all errors raised by `cli`. The message names the thing, the value and the remedy."""

    exit_code = 1


class DataFolderError(CliError):
    """The data folder cannot be used by this process."""


class PortInUseError(CliError):
    """The address to listen on is taken, or is not this machine's."""


class ServerSaidNoError(CliError):
    """What the client raised, in its own words, with the exit code of its kind."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class HarnessError(CliError):
    """A harness is not there, does not know what it shall measure, or ended with an error."""


class InputFileError(CliError):
    """A file that was named on the command line cannot be used."""


class InterruptedCommandError(CliError):
    """A long command was asked to stop, and said what it kept."""

    exit_code = 130


class RedisBinaryError(CliError):
    """No usable server binary."""


class RedisStartError(CliError):
    """The private server is running but does not answer."""


class ChildFailedError(CliError):
    """A child process is beyond help. `last_lines` is the end of what it wrote to standard error, None if unknown."""

    def __init__(self, name: str, reason: str, last_lines: str | None) -> None:
        if last_lines is None:
            said = "; what it said stands above"  # it wrote to the terminal itself
        else:
            said = f"; it last said:\n{last_lines}" if last_lines else "; it said nothing"
        super().__init__(f"{name} {reason}{said}")
        self.name = name
        self.reason = reason
        self.last_lines = last_lines
