"""Storages of runs and schedules that are faster: the same files as Dagster's own, made by it."""

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from typing import NoReturn

import dagster as dg
import pytest
from alembic.script import ScriptDirectory
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from ml_platform.storages import PromptSqliteRunStorage, PromptSqliteScheduleStorage

ROOT = Path(__file__).parents[1]
FILES = ("history/runs.db", "schedules/schedules.db")
LOCATION = InProcessCodeLocationOrigin(LoadableTargetOrigin())
OURS = ((ROOT / "dagster.yaml").read_text(), PromptSqliteRunStorage, PromptSqliteScheduleStorage)
DAGSTERS = ("telemetry: {enabled: false}\n", SqliteRunStorage, SqliteScheduleStorage)
SENSOR = RemoteInstigatorOrigin(RemoteRepositoryOrigin(LOCATION, "repository"), "sensor")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an instance with the shipped settings."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text(OURS[0])
    return tmp_path


def stored(number: int, home: Path, by: tuple[str, type, type] = OURS) -> list[str]:
    """The runs and states of sensors that an instance finds once it has stored one more of each."""
    settings, *classes = by
    (home / "dagster.yaml").write_text(settings)
    with dg.DagsterInstance.get() as instance:
        assert [type(instance.run_storage), type(instance.schedule_storage)] == classes
        instance.create_run_for_job(dg.job(name=f"job_{number}")(lambda: None))
        origin = SENSOR._replace(instigator_name=f"sensor_{number}")
        state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING)
        instance.add_instigator_state(state)
        runs = [run.job_name for run in instance.get_runs()]
        return sorted([*runs, *(one.instigator_name for one in instance.all_instigator_state())])


def test_dagsters_own_storages_read_what_is_stored_and_the_other_way_round(home: Path) -> None:
    expected: list[str] = []
    for number, by in enumerate([OURS, DAGSTERS, OURS]):
        expected += [f"job_{number}", f"sensor_{number}"]
        assert stored(number, home, by) == sorted(expected)


def test_what_is_made_is_opened_without_a_look_at_dagsters_migrations(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(_: object) -> NoReturn:
        raise AssertionError("the migrations were read")

    def opened() -> None:
        with dg.DagsterInstance.get() as instance:
            assert (instance.get_runs(), list(instance.all_instigator_state())) == ([], [])
            instance.event_log_storage.get_maximum_record_id()

    opened()
    monkeypatch.setattr(ScriptDirectory, "from_config", look)
    opened()
    (home / FILES[0]).unlink()
    with pytest.raises(AssertionError, match="the migrations were read"):
        opened()


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_was_left_without_its_revision_is_made_by_dagster(home: Path, file: str) -> None:
    stored(0, home)
    with closing(sqlite3.connect(home / file)) as database:
        database.execute("DELETE FROM alembic_version")
        database.commit()
    assert stored(1, home) == ["job_0", "job_1", "sensor_0", "sensor_1"]
    with closing(sqlite3.connect(home / file)) as database:
        assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


@pytest.mark.usefixtures("home")
def test_threads_that_ask_at_once_do_not_wait_for_one_another() -> None:
    together = Barrier(40, timeout=20)

    def ask(_: int) -> None:
        for storage in (instance.run_storage, instance.schedule_storage):
            assert isinstance(storage, PromptSqliteRunStorage | PromptSqliteScheduleStorage)
            with storage.connect():
                together.wait()

    with dg.DagsterInstance.get() as instance, ThreadPoolExecutor(40) as threads:
        list(threads.map(ask, range(40)))


LEFT_OPEN = """
import atexit
import os

atexit.register(os._exit, 0)  # first, as the command line does

import dagster as dg

instance = dg.DagsterInstance.get()
dg.instance = instance
instance.get_runs(), instance.all_instigator_state()
"""


def test_a_process_that_ends_leaves_no_log_beside_its_files(home: Path) -> None:
    subprocess.run([sys.executable, "-c", LEFT_OPEN], check=True)
    assert [file.name for folder in ("history", "schedules") for file in (home / folder).glob("*.db*")] == [
        Path(file).name for file in FILES
    ]


def test_they_make_nothing_until_an_instance_has_them(home: Path) -> None:
    before = list(home.iterdir())
    for storage in (PromptSqliteRunStorage, PromptSqliteScheduleStorage):
        storage.from_config_value(None, {})
    assert list(home.iterdir()) == before
