"""The schema: up, down, the same as the tables say, and by whoever comes first."""

import asyncio
import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlmodel import SQLModel

import plait.ledger
from plait.http.errors import ConfigurationError
from plait.ledger import Ledger, migrate
from plait.ledger.database import Database
from plait.ledger.migrate import HEAD, current, downgrade, upgrade

REVIEWS = ("review", "review_message", "review_answer")


@pytest.fixture
def database(ledger_url: str) -> Iterator[Database]:
    """An empty database."""
    opened = Database(ledger_url)
    yield opened
    opened.stop()


def revisions() -> ScriptDirectory:
    """The migration folder as alembic reads it."""
    config = Config()
    config.set_main_option("script_location", str(Path(plait.ledger.__file__).parent / "migrations"))
    return ScriptDirectory.from_config(config)


def tables(database: Database) -> set[str]:
    """What is there."""
    return database.read_now(lambda connection: set(inspect(connection).get_table_names()))


def test_head_is_the_newest_revision():
    """The constant that spares an up-to-date ledger alembic's start is true; there is one head."""
    assert [HEAD] == revisions().get_heads()


def test_up_down_and_up_again(database: Database):
    """Every revision can be undone, one by one and all at once."""
    upgrade(database)
    assert {"effect", "attempt", "process", "unit_lock", *REVIEWS} < tables(database)
    for revision in [script.down_revision or "base" for script in revisions().walk_revisions()]:
        downgrade(database, str(revision))
    assert {"alembic_version"} == tables(database)
    upgrade(database)
    assert HEAD == database.read_now(current)


def test_the_migrations_make_what_the_tables_say(database: Database):
    """Autogenerate finds nothing to do: no table, column, type, index or constraint differs."""
    upgrade(database)

    def differences(connection: object) -> list[object]:
        options = {"compare_type": True, "target_metadata": SQLModel.metadata}
        context = MigrationContext.configure(connection, opts=options)
        return compare_metadata(context, SQLModel.metadata)

    assert [] == database.read_now(differences)


def test_the_conditions_of_partial_indexes_are_those_of_the_tables(database: Database):
    """Autogenerate does not compare them on every database, and a query finds its index by them."""
    upgrade(database)
    for table in ("effect", "attempt", *REVIEWS, "pipeline_run"):
        made = {
            index["name"]: index["dialect_options"]
            for index in database.read_now(lambda connection, of=table: inspect(connection).get_indexes(of))
        }
        for index in SQLModel.metadata.tables[table].indexes:
            dialect = "sqlite" if database.is_sqlite else "postgresql"
            meant = index.dialect_options[dialect]["where"]
            there = made[index.name].get(f"{dialect}_where")
            assert (meant is None) == (there is None), index.name
            assert meant is None or words(str(meant)) == words(str(there)), index.name


def words(condition: str) -> set[str]:
    """What a condition is about, without the casts and brackets PostgreSQL adds."""
    for noise in ("::character varying", "::text[]", "::text", "(", ")", "[", "]", ",", "ARRAY", "ANY", "="):
        condition = condition.replace(noise, " ")
    return {word for word in condition.split() if word != "IN"}


async def test_many_instances_open_new_ledgers_at_once(ledger_url: str, tmp_path: Path):
    """In one process: two that are the same, and others beside them (alembic keeps its state globally)."""

    async def visit(url: str) -> str | None:
        async with Ledger.open(url) as ledger:
            return await ledger.database.read(current)

    urls = [ledger_url, ledger_url, *(str(tmp_path / f"{n}.db") for n in range(3))]
    assert [HEAD] * 5 == await asyncio.gather(*(visit(url) for url in urls))


def test_two_processes_open_a_new_ledger_at_once(ledger_url: str, database: Database):
    """One migrates, the other waits for it; both work."""
    program = (
        "import asyncio, sys\n"
        "from plait.ledger import Ledger\n"
        "async def main():\n"
        "    sys.stdin.readline()\n"
        "    async with Ledger.open(sys.argv[1]): pass\n"
        "print('ready', flush=True)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program, ledger_url]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for process in both:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        process.communicate(timeout=150)
    assert [0, 0] == [process.returncode for process in both]
    assert HEAD == database.read_now(current)


async def test_a_ledger_of_a_newer_version_is_refused(ledger_url: str, database: Database):
    """Never migrated back by accident: the error names both revisions, and no connection is left behind."""
    upgrade(database)
    database.write_now(
        lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")),
        commit="claim",
    )
    with pytest.raises(ConfigurationError, match=rf"revision 9999, this Plait knows {migrate.HEAD}"):
        async with Ledger.open(ledger_url):
            pass
    gc.collect()  # an open connection would be reported here
