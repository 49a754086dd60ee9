"""The schema: what the tables are, how old ones become new ones, what is never touched."""

from __future__ import annotations

import functools
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from mltetris_api.v1 import run_pb2
from mltetris_server import errors
from mltetris_server.storage import History, WorkerEvent, database
from mltetris_server.storage.listing import RunQuery
from mltetris_server.storage.migrate import NEWEST, SCRIPTS, migrate
from mltetris_server.storage.schema import metadata

FROZEN = Path(__file__).parent / "data" / "history-0001.sql"

FOLLOWING = f"{int(NEWEST) + 1:04}"
"""The revision after the newest, which the tests make up."""
NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "{next}"
down_revision = "{newest}"

def upgrade():
    with op.batch_alter_table("runs", recreate="always") as batch:
        batch.add_column(sa.Column("colour", sa.Integer, nullable=False, server_default="7"))
    {more}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mltetris.db"


def write_next(scripts: Path, more: str = "") -> None:
    script = NEXT.format(next=FOLLOWING, newest=NEWEST, more=more)
    (scripts / "versions" / f"v{FOLLOWING}_next.py").write_text(script)


@pytest.fixture
def next_scripts(tmp_path: Path) -> Path:
    """The migrations with one more."""
    scripts = tmp_path / "migrations"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    write_next(scripts)
    return scripts


def fill(path: Path) -> None:
    run = run_pb2.Run(id="train-1", kind=run_pb2.RUN_KIND_TRAINING)
    run.state = run_pb2.RUN_STATE_RUNNING
    with History(path) as history:
        history.create_run(run, request_id="key", secret_hash=b"hash")
        point = run_pb2.MetricPoint(sequence=1, placements=64)
        history.append("train-1", [WorkerEvent(1, [point], [run_pb2.Episode(number=1)])])


def revision(path: Path) -> str:
    with sqlite3.connect(path) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    connection.close()
    return str(row[0])


def test_the_migrations_make_the_tables_that_the_code_uses(path: Path) -> None:
    History(path).close()
    engine = database.open_engine(path)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []
    finally:
        engine.dispose()


def test_the_newest_migration_is_the_one_the_code_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_heads() == [NEWEST]


def test_a_history_made_by_the_first_schema_opens(path: Path) -> None:
    """The file was dumped from a history when 0001 was the newest; it is never changed."""
    with sqlite3.connect(path) as connection:
        connection.executescript(FROZEN.read_text())
    connection.close()
    with History(path) as history:
        run = history.get_run("train-7k2m9q")
        assert run is not None
        assert (run.display_name, run.state) == ("first", run_pb2.RUN_STATE_SUCCEEDED)
        assert history.find_by_request_id("key-1") == run
        assert [point.sequence for point in history.points(run.id)] == [1, 2, 3]
        assert [episode.lines for episode in history.episodes(run.id)] == [11, 22]
        assert [change.state for change in history.state_changes(run.id)] == [1, 2, 3, 6]
        assert history.worker(run.id).pid == 4321
        assert history.worker(run.id).secret_hash == b"\x01\x02\x03"
        assert history.append(run.id, []) == 5
        assert [run.id for run in history.unfinished_runs()] == ["demo-aaaaaa"]
        history.delete_run(run.id)
    assert revision(path) == NEWEST


def test_runs_of_the_first_schema_are_listed_counted_and_thinned(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.executescript(FROZEN.read_text())
    connection.close()
    with History(path) as history:
        old = history.get_run("train-7k2m9q")
        assert old is not None
        assert history.find_runs(RunQuery(text="FIRST", algorithms=[1]))[0] == [old]
        played = history.list_episodes(old.id, order_by="lines")[0]
        assert [episode.lines for episode in played] == [22, 11]
        points, total = history.thinned_points(old.id, 10)
        assert ([point.sequence for point in points], total) == ([1, 2, 3], 3)
        stats = history.stats()
        runs = history.list_runs()[0]
        assert stats.placements == sum(run.metrics.placements for run in runs)
        assert stats.games == sum(run.metrics.episodes for run in runs)
        assert stats.metric_points == 3
        # What is counted already is not counted again.
        more = run_pb2.MetricPoint(sequence=4, placements=old.metrics.placements + 5)
        history.append(old.id, [WorkerEvent(99, [more])], run=old)
        assert history.stats().placements == stats.placements + 5


def test_what_old_demos_were_made_of_is_found_in_thousands_of_runs(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.executescript(FROZEN.read_text())
        run = run_pb2.Run(kind=run_pb2.RUN_KIND_DEMO, state=run_pb2.RUN_STATE_SUCCEEDED)
        run.demo.slots.extend(["mine", "other"])
        connection.execute("DELETE FROM runs")
        for number in range(1, 1202):
            run.id = f"demo-{number}"
            run.metrics.placements = 7 * number
            run.metrics.episodes = 1
            run.best_evaluation.mean_lines = -number % 1201
            run.end_time.FromSeconds(10_000 - number)
            connection.execute(
                "INSERT INTO runs VALUES (?, ?, 2, 6, 0, NULL, 0, x'', 0, 0, ?)",
                (number, run.id, run.SerializeToString()),
            )
        game = run_pb2.Episode(player="mine").SerializeToString()
        connection.execute("INSERT INTO episodes VALUES (NULL, 1201, 1, 5, 0, ?)", (game,))
    connection.close()
    with History(path) as history:
        assert history.find_runs(RunQuery(slot="other"))[2] == 1201
        assert len(history.list_episodes("demo-1201", player="mine")[0]) == 1
        for order in ("end_time", "best_lines"):
            page = history.find_runs(RunQuery(order_by=order))[0]
            assert [run.id for run in page[:2]] == ["demo-1", "demo-2"], order
        page = history.find_runs(RunQuery(order_by="placements"))[0]
        assert page[0].id == "demo-1201"
        stats = history.stats()
        assert (stats.placements, stats.games) == (7 * 1201 * 601, 1201)


def test_opening_twice_changes_nothing(path: Path) -> None:
    fill(path)
    before = path.read_bytes()
    History(path).close()
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    fill(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(errors.WrongState, match=r"newer mlTetris.*9999.*update"):
        History(path)
    assert revision(path) == "9999"


def test_replacing_a_table_keeps_the_rows_that_refer_to_it(
    path: Path, next_scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would delete them with the table, were foreign keys on while it is replaced."""
    fill(path)
    to_next = functools.partial(migrate, scripts=next_scripts, newest=FOLLOWING)
    monkeypatch.setattr(database, "migrate", to_next)
    History(path).close()
    assert revision(path) == FOLLOWING
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT id, colour FROM runs").fetchall() == [("train-1", 7)]
        for table in ("metric_points", "episodes", "state_changes"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,), table
    connection.close()


@pytest.mark.parametrize(
    "fault", ["raise RuntimeError('fault')", "op.execute('UPDATE metric_points SET run_number=9')"]
)
def test_a_migration_that_fails_leaves_everything_as_it_was(
    path: Path, next_scripts: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(path)
    write_next(next_scripts, fault)
    with monkeypatch.context() as patch:
        to_next = functools.partial(migrate, scripts=next_scripts, newest=FOLLOWING)
        patch.setattr(database, "migrate", to_next)
        with pytest.raises(RuntimeError):
            History(path)
    assert revision(path) == NEWEST
    with History(path) as history:
        assert len(history.points("train-1")) == 1


@pytest.mark.parametrize(("first", "expected"), [(True, "True"), (False, "False")])
def test_alembic_is_loaded_only_to_migrate(path: Path, first: bool, expected: str) -> None:
    """It costs 10 MB that a server would carry for the rest of its life."""
    if not first:
        History(path).close()
    script = (
        "import sys, pathlib\n"
        "from mltetris_server.storage import History\n"
        "History(pathlib.Path(sys.argv[1])).close()\n"
        "print('alembic' in sys.modules)\n"
        "heavy = {'torch', 'numba', 'numpy', 'gymnasium', 'safetensors'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == expected
