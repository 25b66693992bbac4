"""Crashes: a run that is killed anywhere leaves whole partitions, and the next run repairs what is missing."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from upath import UPath

from ml_platform.alerts.project import Project
from ml_platform.alerts.sensor import look
from ml_platform.io_managers.reports import dump, load
from ml_platform.ml.report import Report
from ml_platform.resources.alerting import Alerts
from ml_platform.use_case import Alerting
from ml_platform_tests.drills import (
    DAYS,
    MODEL,
    NEW,
    OLD,
    Drill,
    End,
    Home,
    Job,
    drill,
    fresh,
    write_source,
)


@pytest.fixture(scope="module")
def drilled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    with drill(tmp_path_factory.mktemp("drill")) as one:
        yield one


@pytest.mark.parametrize(
    ("end", "days_a_chunk", "numbers"),
    [
        # five chunks a table: raw_data has the commits and the records 1 to 5, quarantine and validated_data take turns
        (End("file", 9), 2, [(8, 8), (0, 0), (0, 0), (0, 0)]),
        (End("file", 10, "half"), 2, [(8, 8), (0, 0), (0, 0), (0, 0)]),
        (End("commit", 10, "after"), 2, [(10, 10), (6, 4), (4, 4), (0, 0)]),
        (End("record", 7, "half"), 2, [(10, 10), (2, 2), (2, 0), (0, 0)]),
        (End("record", 9, "after"), 2, [(10, 10), (4, 4), (4, 4), (0, 0)]),
        (End("chunk", 12), 2, [(10, 10), (10, 10), (10, 10), (4, 4)]),
        (End("commit", 40), 1, [(10, 10), (10, 10), (10, 10), (9, 9)]),
    ],
    ids=str,
)
def test_a_killed_run_leaves_whole_partitions_and_the_next_one_computes_what_is_missing(
    drilled: Drill, tmp_path: Path, end: End, days_a_chunk: int, numbers: list[tuple[int, int]]
) -> None:
    home = drilled.old.copy(tmp_path / "home")
    assert drilled.warm.run(home, Job(end=end, days_a_chunk=days_a_chunk))[0] == -signal.SIGKILL
    assert list(drilled.assert_whole(home).values()) == numbers

    assert drilled.warm.run(home, Job(days_a_chunk=10))[0] == 0
    drilled.assert_new(home)
    for (stored, recorded), unchanged, described in zip(
        numbers, drilled.unchanged(home).values(), drilled.described(home).values(), strict=True
    ):
        assert recorded <= unchanged <= stored
        assert described >= len(DAYS) - (stored - recorded)


def test_what_a_killed_run_has_recorded_without_its_verdict_is_told_until_the_next_one_gives_it(
    drilled: Drill, tmp_path: Path
) -> None:
    home = drilled.old.copy(tmp_path / "home")
    project = Project({"drill": Alerting()}, dg.Definitions().resolve_asset_graph(), frozenset())
    now = datetime.now(UTC)

    def told() -> list[tuple[str, list[str]]]:
        """The checks that gave no verdict, as an alert after the last run tells it."""
        with home.instance() as instance:
            book = look(instance, project, Alerts(), home.lake(), lambda _: None, now)
        return [(one.subject, one.partitions) for one in book.incidents if one.kind == "check_missing"]

    # the fourth of five chunks of raw data
    assert drilled.warm.run(home, Job(end=End("record", 4, "after")))[0] == -signal.SIGKILL
    with home.instance() as instance:
        (killed,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        instance.report_run_failed(killed)
    assert told() == [("readable of raw_data", DAYS[6:8])]
    assert drilled.warm.run(home, Job())[0] == 0
    assert told() == []


def test_a_run_killed_at_the_first_commit_of_all_is_made_up_for(drilled: Drill, tmp_path: Path) -> None:
    home = fresh(drilled.project, tmp_path / "home")
    for when, stored in (("before", 0), ("after", 2)):
        assert drilled.warm.run(home, Job(end=End("first commit", 1, when)))[0] == -signal.SIGKILL
        assert drilled.assert_whole(home)["raw_data"] == (stored, 0)
    assert drilled.warm.run(home, Job())[0] == 0
    drilled.assert_new(home)


def test_a_model_is_published_and_its_report_and_its_crown_whichever_of_its_steps_is_the_last(
    drilled: Drill, tmp_path: Path
) -> None:
    write_source(drilled.project, OLD)
    home = drilled.old.copy(tmp_path / "home")
    assert drilled.warm.run(home, Job(stages=MODEL))[0] == 0
    write_source(drilled.project, NEW)
    assert drilled.warm.run(home, Job())[0] == 0
    tracking, reports, key = home.tracking(), home.reports(), dg.AssetKey(["drill", "evaluation"])
    cutoff = home.cutoff

    def killed(seam: str, call: int, when: str = "before") -> tuple[str, Report, int]:
        """The run of the model, the report and the version of the champion that there are after a kill."""
        end = End(seam, call, when)
        assert drilled.warm.run(home, Job(stages=MODEL, end=end))[0] == -signal.SIGKILL, end
        return found()

    def found() -> tuple[str, Report, int]:
        (report,) = reports.reports(key, [cutoff]).values()
        champion = tracking.champion("drill")
        assert champion is not None
        return tracking.model_of("drill", cutoff).run_id, report, champion.number

    def new(stage: str) -> bool:
        """Whether a model, a report or a decision of the new data was recorded as published."""
        version, metadata = home.recorded(stage, [cutoff])[cutoff]
        return version != before[stage] and "unchanged" not in metadata

    before = {stage: home.recorded(stage, [cutoff])[cutoff][0] for stage in MODEL}
    old = found()
    assert (old[0], old[2]) == (old[1].run_id, 1)

    # the first tag names the data version, the second one publishes
    model, report, champion = killed("tag", 2)
    assert (model, report.run_id, champion) == (old[0], old[0], 1)
    assert not any(map(new, MODEL))

    # the scores are there, and are not yet those of the report
    model, report, champion = killed("rename", 2)
    assert model != old[0]
    assert (report.run_id, champion) == (old[0], 1)
    assert report.scores.equals(old[1].scores)
    assert [new(stage) for stage in MODEL] == [True, False, False]

    same, report, champion = killed("crown", 1, "after")
    assert (same, report.run_id, champion) == (model, model, 2)
    assert home.recorded("promotion", [cutoff])[cutoff][0] == before["promotion"]

    assert drilled.warm.run(home, Job(stages=MODEL))[0] == 0
    same, report, champion = found()
    assert (same, report.run_id, champion) == (model, model, 2)
    assert new("promotion")
    assert home.recorded("promotion", [cutoff])[cutoff][1]["version"] == 2


def test_a_report_stored_once_more_is_whole_if_that_is_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, scores = UPath(tmp_path), pl.DataFrame({"id": [1], "score": [0.5]})
    report = Report("run", "2024-01-01", "2024-01-02", {}, {}, {}, scores)
    dump(report, folder, DAYS[0])
    write = type(folder).write_bytes

    def cut_short(file: UPath, content: bytes) -> int:
        write(file, content[: len(content) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(type(folder), "write_bytes", cut_short)
        with suppress(KeyboardInterrupt):
            dump(report, folder, DAYS[0])
    assert load(folder, DAYS[0]).scores.equals(scores)


def test_a_run_killed_while_the_tracking_server_is_made_is_made_up_for(drilled: Drill, tmp_path: Path) -> None:
    home = drilled.new.copy(tmp_path / "home")
    assert drilled.warm.run(home, Job(stages=["model"], end=End("ddl", 40)))[0] == -signal.SIGKILL
    end, log = drilled.warm.run(home, Job(stages=["model"]))
    assert end == 0, log


def assert_cancelled(drill: Drill, home: Home, end: int) -> None:
    """A run said that it did not go well, is none that still runs, and left nothing stored that is not recorded."""
    assert end == 1
    assert home.statuses()[0] in {"CANCELED", "FAILURE"}
    numbers = drill.assert_whole(home)
    assert all(stored == recorded for stored, recorded in numbers.values())
    assert numbers["features"][0] < len(DAYS)


def test_a_run_cancelled_between_its_writes_stops_there(drilled: Drill, tmp_path: Path) -> None:
    home = drilled.old.copy(tmp_path / "home")
    assert_cancelled(drilled, home, drilled.warm.run(home, Job(end=End("transform", 2, by="SIGINT")))[0])
    assert drilled.assert_whole(home)["features"] == (2, 2)


def test_a_run_cancelled_while_it_writes_records_that_and_stops(drilled: Drill, tmp_path: Path) -> None:
    home = drilled.old.copy(tmp_path / "home")
    end, _ = drilled.warm.run(home, Job(end=End("commit", 3, by="SIGINT")))
    assert drilled.assert_whole(home)["raw_data"] == (6, 6)
    assert_cancelled(drilled, home, end)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own in memory, that holds no more than its size; skips where none can be mounted."""
    folder.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here; it takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_made_up_for_once_there_is_room(drilled: Drill, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        home = drilled.old.copy(tmp_path / "home", disk / "lake")
        done = 0
        for room in (0, 150_000):
            with (disk / "ballast").open("wb") as ballast:
                ballast.write(b"\0" * (shutil.disk_usage(disk).free - room))
            end, log = drilled.warm.run(home, Job())
            assert end == 1
            assert "No space left on device" in " ".join(log.split()), log
            numbers = drilled.assert_whole(home)
            assert all(stored == recorded for stored, recorded in numbers.values())
            (disk / "ballast").unlink()
            assert done <= (done := sum(stored for stored, _ in numbers.values())) < 4 * len(DAYS)
        assert done > 0
        assert drilled.warm.run(home, Job())[0] == 0
        drilled.assert_new(home)
