"""A database that is away is waited for; one that will never take us is an error at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from store.errors import DatabaseAwayError, DatabaseRefusedError
from store.schema.database import Database
from store.upkeep.availability import Reminders, await_database, why_unreachable
from tests.support.postgres import Cluster, Databases, require_postgres


def silent(reason: str, left: float) -> None:
    pytest.fail(f"{reason} was told, {left} s before the end")


def test_a_database_that_answers_is_not_waited_for(database: Database) -> None:
    await_database(database, 0, silent)


def test_a_server_that_comes_while_it_is_waited_for() -> None:
    require_postgres()
    cluster = Cluster()
    database = Database(cluster.url())
    told: list[str] = []
    try:
        await_database(database, 60, lambda reason, left: told.append(reason), wait=lambda _: cluster.start())
        assert why_unreachable(database) is None
    finally:
        database.close()
        cluster.close()
    (reason,) = told
    assert "Connection refused" in reason
    assert "\n" not in reason


def test_a_server_that_does_not_come() -> None:
    database = Database("postgresql+psycopg://nobody@127.0.0.1:1/none")
    told: list[float] = []
    with pytest.raises(DatabaseAwayError, match=r"did not answer within 0\.05 s: .*Connection refused"):
        await_database(database, 0.05, lambda _, left: told.append(left))
    assert len(told) == 1
    database.close()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"password": "wrong"}, "password authentication failed"),
        ({"username": "somebody"}, "password authentication failed"),
        ({"database": "elsewhere"}, 'database "elsewhere" does not exist'),
        ({"query": {"no_such_option": "1"}}, "no_such_option"),
    ],
)
def test_a_server_that_refuses_is_not_waited_for(
    postgres_databases: Databases, changed: dict[str, object], reason: str
) -> None:
    url = make_url(postgres_databases.cluster.url()).set(**changed)  # type: ignore[arg-type]
    database = Database(url.render_as_string(hide_password=False))
    with pytest.raises(DatabaseRefusedError, match=reason):
        await_database(database, 60, silent)
    database.close()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "emmetd.sqlite3"
    file.write_text("a letter to nobody" * 100)
    database = Database(f"sqlite:///{file}")
    with pytest.raises(DatabaseRefusedError, match="not a database"):
        await_database(database, 60, silent)
    database.close()


def test_what_is_waited_for_is_said_ever_more_rarely() -> None:
    clock = [0.0]
    reminders = Reminders(lambda: clock[0])
    said = []
    for second in range(3600):
        clock[0] = second
        if reminders.due("the database is away"):
            said.append(second)
    assert said == [0, 15, 45, 105, 225, 465, 945, 1545, 2145, 2745, 3345]
    assert reminders.due("the disk is full"), "something else is said at once"
