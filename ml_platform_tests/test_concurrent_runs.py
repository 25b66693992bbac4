"""Runs at once: none loses, doubles or tears what another one stores, and a reader sees old or new."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import time

import dagster as dg
import polars as pl
import pytest
from upath import UPath

from ml_platform.io_managers.reports import dump, load
from ml_platform.ml.report import Report
from ml_platform.partitions import day_of
from ml_platform.resources.lake import Lake
from ml_platform_tests.drills import (
    DAYS,
    MODEL,
    TABLES,
    Drill,
    End,
    Home,
    Job,
    Started,
    by_day,
    drill,
    fresh,
)

WRITER = """
import sys
from datetime import date
from time import time

import polars as pl

from ml_platform.resources.lake import Table

root, writer, begin, tables = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
day = date(2024, 1, 1)
rows = pl.DataFrame({"writer": [writer] * 3, "partition": [day] * 3})
Table(f"{root}/warm-up-{writer}", {}).overwrite(rows, [day], {day: f"{writer:x}"})
for number in range(tables):
    while time() < begin + number * 0.04:
        pass
    Table(f"{root}/{number}", {}).overwrite(rows, [day], {day: f"{writer:x}"})
"""


@pytest.fixture(scope="module")
def drilled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    with drill(tmp_path_factory.mktemp("drill")) as one:
        yield one


def read(drilled: Drill, home: Home, started: Started) -> int:
    """How often all tables could be read while runs went on; each time each day was old or new, whole."""
    times = 0
    while started.going_on():
        for stage in TABLES:
            found = by_day(home.lake().table(dg.AssetKey(["drill", stage])).scan().collect())
            old, new = drilled.expected[stage]
            assert sorted(found) == DAYS, stage
            for day, rows in found.items():
                assert rows.equals(new.rows[day]) or rows.equals(old.rows[day]), (stage, day)
        times += 1
    return times


@pytest.mark.parametrize(
    "jobs",
    [(Job(), Job()), (Job(last=DAYS[4]), Job(first=DAYS[5]))],
    ids=["the same partitions", "different partitions"],
)
def test_two_runs_at_once_store_what_one_would_and_a_reader_sees_old_or_new(
    drilled: Drill, tmp_path: Path, jobs: tuple[Job, Job]
) -> None:
    home = drilled.old.copy(tmp_path / "home")
    started = drilled.warm.start(home, *jobs)
    times = read(drilled, home, started)
    assert started.ends() == [0, 0], started.logs()
    assert times > 2

    # the first day of the one looks back at the last day of the other, old or new
    assert drilled.warm.run(home, Job())[0] == 0
    drilled.assert_new(home)


def test_a_table_created_by_two_writers_at_once_has_the_rows_of_one(tmp_path: Path) -> None:
    tables, begin = 60, time() + 4
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(writer), str(begin), str(tables)])
        for writer in (1, 2)
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    day = day_of("2024-01-01")
    for number in range(tables):
        table = Lake(root=str(tmp_path)).table(dg.AssetKey([str(number)]))
        (writer,) = {int(version, 16) for version in table.data_versions([day]).values()}
        assert table.scan().collect()["writer"].to_list() == [writer] * 3


def test_two_first_runs_at_once_leave_an_instance_that_opens(drilled: Drill, tmp_path: Path) -> None:
    home = fresh(drilled.project, tmp_path / "home")
    job = Job(end=End("stamp", 1, "together"))
    started = drilled.warm.start(home, job, job)
    assert started.ends() == [0, 0], started.logs()
    end, log = drilled.warm.run(home, Job())
    assert end == 0, log
    drilled.assert_new(home)


def test_two_first_models_at_once_leave_a_tracking_server_that_opens(drilled: Drill, tmp_path: Path) -> None:
    home = drilled.new.copy(tmp_path / "home")
    job = Job(stages=["model"], end=End("migrations", 1, "together"))
    started = drilled.warm.start(home, job, job)
    assert started.ends() == [0, 0], started.logs()
    end, log = drilled.warm.run(home, Job(stages=MODEL))
    assert end == 0, log


def test_a_report_stored_by_two_runs_at_once_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, scores = UPath(tmp_path), pl.DataFrame({"id": [1], "score": [0.5]})
    report = Report("run", "2024-01-01", "2024-01-02", {}, {}, {}, scores)
    rename = type(folder).rename

    def overtaken(file: UPath, target: UPath) -> UPath:
        monkeypatch.setattr(type(folder), "rename", rename)
        dump(report, folder, DAYS[0])
        return rename(file, target)

    monkeypatch.setattr(type(folder), "rename", overtaken)
    dump(report, folder, DAYS[0])
    assert load(folder, DAYS[0]).scores.equals(scores)


def test_a_model_trained_again_by_another_run_is_evaluated_by_the_next_one(drilled: Drill, tmp_path: Path) -> None:
    home = drilled.new.copy(tmp_path / "home")
    assert drilled.warm.run(home, Job(stages=MODEL))[0] == 0
    # as by two runs at once that both train it, and of which the one evaluates before the other publishes
    assert drilled.warm.run(home, Job(stages=["model"], options=["--force"]))[0] == 0
    assert drilled.warm.run(home, Job(stages=MODEL))[0] == 0
    (report,) = home.reports().reports(dg.AssetKey(["drill", "evaluation"]), [home.cutoff]).values()
    assert report.run_id == home.tracking().model_of("drill", home.cutoff).run_id
