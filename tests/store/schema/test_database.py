"""The migrations make exactly the tables that the code describes; one writer at a time, and readers see one moment."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, event, inspect, make_url, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from api_schemas.references import parse_reference
from store.errors import RegistrationConflictError
from store.lineage import models
from store.lineage.questions import question_of
from store.schema.base import Base
from store.schema.database import MIGRATIONS, Database, PoolSize, migrate, note_change, schema_is_current
from store.schema.tables import FactRow, ModelRow
from store.work import batches, evaluations, events, lifecycle
from store.work.kinds import EDIT
from tests.store.conftest import FACT
from tests.support.postgres import Databases

IDENTITY = models.ModelIdentity("f" * 64, "e" * 64, "float32", "llama", 4, 16, 8, 160, "d" * 64, None)


def test_migrations_and_tables_agree(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, Base.metadata) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    migrate(database.url)
    with database.reading() as session:
        assert [row.name for row in models.all_models(session)] == ["tiny"]


def test_times_come_back_aware_and_in_utc(database: Database) -> None:
    with database.reading() as session:
        row = session.get(ModelRow, "tiny")
        assert row is not None
        assert row.created_at.tzinfo is UTC
        assert abs((datetime.now(UTC) - row.created_at).total_seconds()) < 60


def test_many_writers_lose_nothing(database: Database) -> None:
    def work() -> None:
        for _ in range(10):
            with database.writing() as session:
                new = batches.NewBatch(parse_reference("tiny"), "emmet", {}, {}, [FACT])
                batches.accept(session, new, most_queued=1000)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as session:
        rows = lifecycle.page(session, EDIT, "tiny", None, 1000)
        assert [row.seq for row in rows] == list(range(80, 0, -1))


def test_a_writer_that_waited_sees_what_the_one_before_it_committed(database: Database) -> None:
    """Also where the database's own default would be a snapshot taken before the wait."""
    if not database.is_sqlite:
        with database.writing() as session:
            name = make_url(database.url).database
            session.connection().exec_driver_sql(
                f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"
            )
        database.engine.dispose()
    first_has_begun, second_waits = threading.Event(), threading.Event()

    def second() -> int:
        assert first_has_begun.wait(60)
        second_waits.set()
        with database.writing() as session:
            return models.get(session, "tiny").next_version

    with ThreadPoolExecutor(1) as pool, database.writing() as session:
        found = pool.submit(second)
        row = models.get(session, "tiny")
        first_has_begun.set()
        assert second_waits.wait(60)
        row.next_version = 7
        session.flush()
        session.commit()
    assert found.result(60) == 7


def test_readers_neither_wait_for_a_writer_nor_see_what_it_has_not_committed(database: Database) -> None:
    with database.reading() as reader:
        assert models.get(reader, "tiny").next_version == 1
        with database.writing() as session:
            models.get(session, "tiny").next_version = 2
            session.flush()
            with database.reading() as other:
                assert models.get(other, "tiny").next_version == 1
        reader.expire_all()
        assert models.get(reader, "tiny").next_version == 1, "a reader sees one moment for as long as it reads"
    with database.reading() as reader:
        assert models.get(reader, "tiny").next_version == 2


def test_one_row_is_written_while_another_writer_has_its_turn(database: Database) -> None:
    """On PostgreSQL; SQLite's writers take turns whatever they write."""
    with ThreadPoolExecutor(1) as pool:
        with database.writing() as session:
            models.register(session, "other", "./other")
            written = pool.submit(describe, database, "tiny", "meanwhile")
            if not database.is_sqlite:
                written.result(timeout=20)
        written.result(timeout=20)
    with database.reading() as session:
        assert models.get(session, "tiny").source == "meanwhile"


def describe(database: Database, model: str, text: str) -> None:
    with database.updating() as session:
        session.execute(update(ModelRow).where(ModelRow.name == model).values(source=text))


def test_changes_are_told_once_they_are_committed(database: Database) -> None:
    told: list[set[str]] = []

    def tell(batch_ids: Collection[str]) -> None:
        with database.reading() as session:
            assert models.get(session, "tiny").source == "told"
        told.append(set(batch_ids))

    database.on_change = tell
    with suppress(ZeroDivisionError), database.writing() as session:
        note_change(session, "edit_0")
        raise ZeroDivisionError
    with database.writing() as session:
        session.execute(update(ModelRow).values(source="told"))
        note_change(session, "edit_1")
        note_change(session, "edit_2")
        note_change(session, "edit_1")
    with database.updating() as session:
        note_change(session, "edit_3")
    with database.writing() as session:
        models.get(session, "tiny")
    assert told == [{"edit_1", "edit_2"}, {"edit_3"}]


def test_a_pool_has_no_more_connections_than_it_was_given(database: Database) -> None:
    small = Database(database.url, PoolSize.of(3))
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(small.reading()).execute(select(1))
        assert small.engine.pool.checkedout() == 3  # type: ignore[attr-defined]
        small.engine.pool._timeout = 0.01  # type: ignore[attr-defined]
        with pytest.raises(PoolTimeoutError), small.reading() as session:
            session.execute(select(1))
    small.close()
    assert PoolSize.of(30) == PoolSize(10, 20)
    assert PoolSize.of(4) == PoolSize(4, 0)


def test_a_writer_that_waits_too_long_for_another_of_its_process_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.schema.database.WAIT_SECONDS", 0.05)
    database = Database(f"sqlite:///{tmp_path}/own.sqlite3")

    def second() -> None:
        with database.writing():
            pytest.fail("two writers at once")

    with ThreadPoolExecutor(1) as pool:
        with database.writing(), pytest.raises(DBAPIError, match="database is locked"):
            pool.submit(second).result(60)
        with database.writing() as session:
            assert session.scalar(text("SELECT 1")) == 1
    database.close()


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.sqlite3"
        return
    databases: Databases = request.getfixturevalue("postgres_databases")
    with databases.new(empty=True) as url:
        yield url


@pytest.mark.parametrize("empty_url", ["sqlite", "postgresql"], indirect=True)
def test_several_processes_may_migrate_at_once(empty_url: str) -> None:
    code = "import sys; from store.schema.database import migrate; migrate(sys.argv[1])"
    started = [sys.executable, "-c", code, empty_url]
    processes = [subprocess.Popen(started, cwd=Path(__file__).parents[3]) for _ in range(4)]
    assert [process.wait(120) for process in processes] == [0] * 4
    database = Database(empty_url)
    assert schema_is_current(database)
    database.close()


def older_batch(session: Session, error: dict[str, object] | None = None) -> None:
    """A model and a batch as a release before this one wrote them."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    session.execute(
        text("INSERT INTO models (name, source, next_version, created_at) VALUES ('tiny', '-', 1, :at)"), {"at": at}
    )
    session.execute(
        text(
            "INSERT INTO batches (id, seq, kind, model, requested, algorithm, settings, thresholds, dry_run, urgent, "
            "facts, moves_protected, state, progress, cancel_requested, caller, created_at, error) VALUES ('edit_1', "
            "1, 'edit', 'tiny', 'tiny', 'emmet', '{}', '{}', false, false, 3, false, 'failed', '{}', false, '', :at, "
            ":error)"
        ),
        {"at": at, "error": None if error is None else json.dumps(error)},
    )


@pytest.mark.parametrize("empty_url", ["sqlite", "postgresql"], indirect=True)
def test_texts_that_an_older_release_removed_go_from_events_too(empty_url: str) -> None:
    migrate(empty_url, "0008")
    database = Database(empty_url)
    with database.writing() as session:
        older_batch(session, {"code": "c", "detail": "[removed]"})
        for kind, data in (("queued", {}), ("failed", {"error": {"code": "c", "detail": "subject 'it'"}})):
            session.execute(
                text("INSERT INTO events (batch_id, kind, data, created_at) VALUES ('edit_1', :kind, :data, :at)"),
                {"kind": kind, "data": json.dumps(data), "at": datetime(2026, 1, 1, tzinfo=UTC)},
            )
    migrate(empty_url)
    with database.reading() as session:
        queued, failed = events.after(session, "edit_1", 0)
        assert (queued.data, failed.data) == ({}, {"error": {"code": "c", "detail": "[removed]"}})
    database.close()


@pytest.mark.parametrize("empty_url", ["sqlite", "postgresql"], indirect=True)
def test_facts_of_an_older_release_are_given_their_questions(empty_url: str) -> None:
    migrate(empty_url, "0007")
    database = Database(empty_url)
    kept = [{**FACT, "subject": f"  it  {number} "} for number in range(3)]
    with database.writing() as session:
        older_batch(session)
        for number, fact in enumerate(kept):
            session.execute(
                text("INSERT INTO facts (batch_id, number, fact) VALUES ('edit_1', :number, :fact)"),
                {"number": number, "fact": json.dumps(fact)},
            )
    migrate(empty_url)
    with database.reading() as session:
        rows = session.scalars(select(FactRow).order_by(FactRow.number)).all()
        assert [row.question for row in rows] == [question_of(fact) for fact in kept]
    database.close()


@pytest.mark.parametrize("empty_url", ["sqlite", "postgresql"], indirect=True)
def test_a_model_of_an_older_release_is_pinned_by_the_next_worker_that_loads_it(empty_url: str) -> None:
    migrate(empty_url, "0018")
    database = Database(empty_url)
    with database.writing() as session:
        older_batch(session)
    migrate(empty_url)
    with database.writing() as session:
        assert models.get(session, "tiny").revision is None
        models.bind(session, "tiny", IDENTITY, "a" * 40)
    with database.writing() as session:
        assert models.bind(session, "tiny", IDENTITY).revision == "a" * 40, "who loaded a copy says nothing of it"
        with pytest.raises(RegistrationConflictError, match=f"at revision {'a' * 40}, but .* loaded {'b' * 40}"):
            models.bind(session, "tiny", IDENTITY, "b" * 40)
    database.close()


@pytest.mark.parametrize("empty_url", ["sqlite", "postgresql"], indirect=True)
def test_results_of_an_older_release_move_into_rows_of_their_own(empty_url: str) -> None:
    migrate(empty_url, "0014")
    database = Database(empty_url)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    place = {"edit": "edit_1", "version": "v1", "index": 0}
    read = {"metrics": {"ES": 1.0, "PS": None}, "greedy": "so"}
    columns = "id, seq, model, state, progress, caller, created_at, version, requested_metrics, facts, n_facts, rows"
    insert = f"INSERT INTO evaluations ({columns}) VALUES (:id, :seq, 'tiny', :state, '{{}}', '', :at, 1, '[]', "
    ended: dict[str, Any] = {
        "facts": [{**FACT, "place": place}, FACT],
        "rows": [{"fact": 0, "place": place, "tiny@v1": read}] * 2,
    }
    ended["rows"][1] = {"fact": 1, "tiny@v1": {**read, "metrics": {"ES": 0.0, "PS": 0.5}}}
    with database.writing() as session:
        models_table = "INSERT INTO models (name, source, next_version, created_at) VALUES ('tiny', 't', 1, :at)"
        session.execute(text(models_table), {"at": at})
        for seq, (state, kept) in enumerate((("succeeded", ended), ("queued", {"facts": [FACT], "rows": None}))):
            values = {"id": f"eval_{seq}", "seq": seq, "state": state, "at": at}
            documents = {name: json.dumps(document) for name, document in kept.items()}
            statement = text(f"{insert} :facts, {len(kept['facts'] or [])}, :rows)")
            session.execute(statement, {**values, **documents})
    migrate(empty_url)
    with database.reading() as session:
        assert [json.loads(row) for row in evaluations.page(session, "eval_0", 0, 10)] == ended["rows"]
        assert evaluations.values(session, "eval_0") == [
            {"tiny@v1": {"ES": 1.0, "PS": None}},
            {"tiny@v1": {"ES": 0.0, "PS": 0.5}},
        ]
        assert evaluations.facts(session, "eval_0") == [FACT, FACT]
        assert (evaluations.measured(session, "eval_0"), evaluations.measured(session, "eval_1")) == (2, 0)
        assert evaluations.facts(session, "eval_1") == [FACT]
    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS))
    configuration.attributes["url"] = empty_url
    command.downgrade(configuration, "0014")
    with database.reading() as session:
        back = session.execute(text("SELECT facts, rows FROM evaluations ORDER BY seq")).all()
    found = [[one if one is None or not isinstance(one, str) else json.loads(one) for one in row] for row in back]
    assert found == [[ended["facts"], ended["rows"]], [[FACT], None]]
    database.close()


def test_a_writer_that_is_cut_off_leaves_nothing_and_the_next_one_writes(postgres_databases: Databases) -> None:
    with postgres_databases.new() as url:
        database = Database(url)

        def cut_off_in_the_middle() -> None:
            with database.writing() as session:
                models.register(session, "lost", "a folder")
                postgres_databases.cluster.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                )
                models.register(session, "lost too", "a folder")

        with pytest.raises(DBAPIError):
            cut_off_in_the_middle()
        with database.writing() as session:
            assert models.all_models(session) == []
        database.close()


def refuse_facts(database: Database) -> None:
    """Whatever is to be kept of a fact, the database refuses the row."""
    with database.writing() as session:
        if database.is_sqlite:
            trigger = "CREATE TRIGGER no_facts BEFORE INSERT ON facts BEGIN SELECT RAISE(ABORT, 'refused'); END"
            session.execute(text(trigger))
        else:
            session.execute(text("ALTER TABLE facts ADD CONSTRAINT no_facts CHECK (number < 0)"))


def lose_facts(database: Database) -> None:
    with database.writing() as session:
        session.execute(text("DROP TABLE facts"))


@pytest.mark.parametrize("fail", [refuse_facts, lose_facts])
def test_an_error_tells_no_text_of_what_was_to_be_kept(database: Database, fail: Callable[[Database], None]) -> None:
    fail(database)
    new = batches.NewBatch(parse_reference("tiny"), "emmet", {}, {}, [{**FACT, "prompt": "a private text"}])

    def accept() -> None:
        with database.writing() as session:
            batches.accept(session, new, most_queued=1000)

    with pytest.raises(DBAPIError) as raised:
        accept()
    told = "".join(traceback.format_exception(raised.value)) + str(raised.value) + repr(raised.value.orig)
    assert "a private text" not in told
    assert "facts" in str(raised.value), "what it is about is told"


@pytest.mark.parametrize("empty_url", ["sqlite", "postgresql"], indirect=True)
def test_a_migration_that_fails_leaves_the_database_as_it_was(empty_url: str) -> None:
    """All revisions are one transaction, which is also what lets several processes migrate at once."""
    migrate(empty_url, "0006")

    def refuse(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if "ADD COLUMN question" in statement:  # of revision 0008
            raise RuntimeError("the disk is full")

    event.listen(Engine, "before_cursor_execute", refuse)
    try:
        with pytest.raises(RuntimeError, match="the disk is full"):
            migrate(empty_url)
    finally:
        event.remove(Engine, "before_cursor_execute", refuse)
    database = Database(empty_url)
    with database.reading() as session:
        assert MigrationContext.configure(session.connection()).get_current_heads() == ("0006",)
        assert "if_match" not in {column["name"] for column in inspect(session.connection()).get_columns("batches")}
    database.close()
    migrate(empty_url)
