"""When to start a dead process again, and when to give up. Pure decisions: no clock, no process."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

from configuration.errors import CONFIGURATION_EXIT_CODE


@dataclass(frozen=True)
class RestartPolicy:
    """The delay doubles with each death from `first_delay` to `longest_delay`; `healthy_after` seconds alive reset it.

    Given up: after `max_deaths` deaths within `window` seconds; after as many in a row that the process brought about
    itself (a positive exit code) before it was healthy, however long its start takes; at once on a configuration error.
    """

    first_delay: float = 0.5
    longest_delay: float = 30.0
    healthy_after: float = 60.0
    max_deaths: int = 5
    window: float = 60.0


@dataclass
class RestartHistory:
    """The deaths of one child process."""

    policy: RestartPolicy
    _deaths: list[float] = field(default_factory=list)
    _failed_starts: int = 0
    _delay: float = 0.0

    def died(self, now: float, lived: float, exit_code: int) -> float | str:
        """Record a death: seconds to wait before the next start, or in words why there is to be none.

        `now` and `lived` are seconds of one monotonic clock; `exit_code` is negative for a signal.
        """
        policy = self.policy
        if exit_code == CONFIGURATION_EXIT_CODE:
            return "cannot run as configured"
        healthy = lived >= policy.healthy_after
        self._failed_starts = self._failed_starts + 1 if exit_code > 0 and not healthy else 0
        self._deaths = [*(moment for moment in self._deaths if now - moment < policy.window), now]
        if len(self._deaths) >= policy.max_deaths:
            return f"died {len(self._deaths)} times within {policy.window:.0f} seconds ({describe_exit(exit_code)})"
        if self._failed_starts >= policy.max_deaths:
            return f"failed to start {self._failed_starts} times in a row ({describe_exit(exit_code)})"
        self._delay = policy.first_delay if healthy or not self._delay else min(2 * self._delay, policy.longest_delay)
        return self._delay


def describe_exit(exit_code: int) -> str:
    """A return code as subprocess gives it, in words."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return f"killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"killed by signal {-exit_code}"
