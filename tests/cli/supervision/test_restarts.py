"""When a dead process is started again, and when not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cli.supervision.restarts import RestartHistory, RestartPolicy, describe_exit

KILLED = -9


def test_the_delay_doubles() -> None:
    history = RestartHistory(RestartPolicy(max_deaths=100))
    assert [history.died(now, lived=0, exit_code=KILLED) for now in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_minute_of_health_resets_the_delay() -> None:
    history = RestartHistory(RestartPolicy())
    assert [history.died(0, 0, 1), history.died(1, 0.5, 1), history.died(100, 61, 1)] == [0.5, 1, 0.5]


def test_five_deaths_in_a_minute_are_the_end() -> None:
    history = RestartHistory(RestartPolicy())
    decisions = [history.died(now, 1, KILLED) for now in (0, 10, 20, 30, 59)]
    assert decisions[:4] == [0.5, 1, 2, 4]
    assert decisions[4] == "died 5 times within 60 seconds (killed by SIGKILL)"


def test_a_child_that_is_killed_now_and_then_goes_on() -> None:
    history = RestartHistory(RestartPolicy())
    assert all(isinstance(history.died(now, 15, KILLED), float) for now in range(0, 2000, 20))


def test_five_failed_starts_in_a_row_are_the_end_however_slow_they_are() -> None:
    history = RestartHistory(RestartPolicy())
    decisions = [history.died(now, 40, 1) for now in (0, 100, 200, 300, 400)]
    assert decisions[4] == "failed to start 5 times in a row (exit code 1)"
    history = RestartHistory(RestartPolicy())
    assert all(isinstance(history.died(now, 90, 1), float) for now in range(0, 2000, 100))


def test_a_configuration_error_is_the_end_at_once() -> None:
    assert RestartHistory(RestartPolicy()).died(0, 1000, 78) == "cannot run as configured"


@given(st.lists(st.tuples(st.floats(0, 200), st.integers(-15, 3)), max_size=60))
def test_delays_stay_within_bounds_and_an_end_has_a_reason(lives: list[tuple[float, int]]) -> None:
    policy = RestartPolicy()
    history, now = RestartHistory(policy), 0.0
    for lived, exit_code in lives:
        now += lived
        decision = history.died(now, lived, exit_code)
        if isinstance(decision, str):
            assert decision
            break
        assert policy.first_delay <= decision <= policy.longest_delay
        now += decision


def test_exits_in_words() -> None:
    assert [describe_exit(code) for code in (0, 2, -15, -200)] == [
        "exit code 0",
        "exit code 2",
        "killed by SIGTERM",
        "killed by signal 200",
    ]
