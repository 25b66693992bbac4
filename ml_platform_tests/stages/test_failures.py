"""Failures: each class is told by real small faults, and what the use case asks for is done about it."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from socket import create_server
from typing import Any
from urllib.request import urlopen

import dagster as dg
import polars as pl
import pytest
import requests
import sqlalchemy
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ml_platform.cli.outcome import Outcome
from ml_platform.cli.project import Project
from ml_platform.resources.lake import Table
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.failures import StageError, failure_class
from ml_platform_tests.tiny_project import Variant, reasons, run, tiny_project

DAYS = 4
BAD = "2024-01-03"
NO_LOOKBACK = {"transform": ".features:build", "lookback": "0 days"}
AT_ONCE = {"transient": {"first_wait": "0 seconds", "retries": 2}}
# how often the faulty day was computed stands in a file; the fault is made of real things
FAULT = """
import resource, signal, sqlite3
from pathlib import Path
from urllib.request import urlopen

import polars as pl

TIMES = Path(__file__).with_name("times")


def locked():
    file = Path(__file__).with_name("busy.db")
    with sqlite3.connect(file) as first, sqlite3.connect(file, timeout=0) as second:
        first.execute("BEGIN EXCLUSIVE")
        second.execute("CREATE TABLE late (number INTEGER)")


def disk_full():
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        Path(__file__).with_name("large").write_bytes(bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def build(rows: pl.DataFrame) -> pl.DataFrame:
    if str(rows["at"].min())[:10] <= "2024-01-03" <= str(rows["at"].max())[:10]:
        times = int(TIMES.read_text()) + 1 if TIMES.exists() else 1
        TIMES.write_text(str(times))
        if times <= {times}:
            {fault}
    return rows.select("id", "at", "fraud", "amount")
"""
CLOSED_PORT = 'urlopen("http://127.0.0.1:9", timeout=5)'
TOO_LARGE = "bytearray(2**62)"
MISTAKE = "rows['no_such_column']"
ALWAYS = 1_000


def faulty(fault: str, times: int = ALWAYS, **failures: Any) -> Variant:
    """A variant whose transform fails so many times on a day."""
    code = FAULT.format(fault=fault, times=times)
    return Variant({"features": NO_LOOKBACK, "failures": {**AT_ONCE, **failures}}, code, days=DAYS)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    variants = {
        "locked": faulty("locked()", times=2),
        "away": faulty(CLOSED_PORT),
        "impatient": faulty(CLOSED_PORT, times=1, transient={"do": "stop"}),
        "too_large": faulty(TOO_LARGE),
        "disk_full": faulty("disk_full()"),
        "once_too_large": faulty(TOO_LARGE, times=1),
        "stopping": faulty(TOO_LARGE, resources={"do": "stop"}),
        "mistake": faulty(MISTAKE),
        "found_mistake": faulty(MISTAKE, code={"do": "split", "severity": "low"}),
    }
    with tiny_project(tmp_path, variants) as project:
        yield project


def times(name: str) -> int:
    """How often the faulty day was computed."""
    (file,) = Path.cwd().glob(f"*/defs/{name}/times")
    return int(file.read_text())


def published(project: Project, name: str) -> list[str]:
    """The days of features that are there."""
    work = project.work(name)
    table = work.lake.table(asset_key(work.use_case, "features"))
    return sorted(f"{day}" for day in table.row_counts()) if table.exists() else []


def events(project: Project, outcome: Outcome, kind: dg.DagsterEventType) -> list[dg.DagsterEvent]:
    entries = project.instance.all_logs(outcome.runs[-1], of_type=kind)
    return [entry.dagster_event for entry in entries if entry.dagster_event]


def failure(project: Project, outcome: Outcome) -> dict[str, Any]:
    """What a program can read of the failure of the last run."""
    (event,) = events(project, outcome, dg.DagsterEventType.STEP_FAILURE)
    assert event.step_failure_data.user_failure_data
    return {name: one.value for name, one in event.step_failure_data.user_failure_data.metadata.items()}


def test_a_lock_is_waited_for(project: Project) -> None:
    succeeded, outcome = run(project, "locked", days=DAYS)
    assert succeeded, outcome
    assert times("locked") == 3
    said = [
        event.engine_event_data.metadata
        for event in events(project, outcome, dg.DagsterEventType.ENGINE_EVENT)
        if "failure_class" in event.engine_event_data.metadata
    ]
    assert [(one["failure_class"].value, one["severity"].value) for one in said] == [("transient", "low")] * 2
    assert len(published(project, "locked")) == DAYS


def test_what_stays_away_stops_the_step_once_the_retries_are_used_up(project: Project) -> None:
    succeeded, outcome = run(project, "away", days=DAYS)
    assert not succeeded
    assert times("away") == 3
    told = failure(project, outcome)
    assert (told["failure_class"], told["severity"]) == ("transient", "low")
    assert told["partitions"] == [f"2024-01-0{number}" for number in range(1, 5)]
    assert "Connection refused" in str(outcome.errors)


def test_a_use_case_may_have_nothing_tried_again(project: Project) -> None:
    assert not run(project, "impatient", days=DAYS)[0]
    assert times("impatient") == 1


@pytest.mark.parametrize(("name", "reason"), [("too_large", "MemoryError"), ("disk_full", "File too large")])
def test_a_day_that_takes_too_much_is_found_by_halves_and_skipped(project: Project, name: str, reason: str) -> None:
    succeeded, outcome = run(project, name, days=DAYS)
    assert not succeeded
    assert times(name) == 3  # among four days, among two, alone
    assert reason in reasons(outcome, "features")["complete"]
    assert published(project, name) == ["2024-01-01", "2024-01-02", "2024-01-04"]
    told = failure(project, outcome)
    assert (told["failure_class"], told["severity"], told["partitions"]) == ("resources", "high", [BAD])
    (verdict,) = (
        one
        for event in events(project, outcome, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        if not (one := event.asset_check_evaluation_data).passed
    )
    assert (verdict.partition, verdict.metadata["failure_class"].value) == (BAD, "resources")


def test_days_that_take_too_much_together_are_computed_by_halves(project: Project) -> None:
    succeeded, outcome = run(project, "once_too_large", days=DAYS)
    assert succeeded, outcome
    assert len(published(project, "once_too_large")) == DAYS
    assert outcome.stages["features"].partitions == DAYS


def test_what_takes_too_much_stops_the_step_if_the_use_case_says_so(project: Project) -> None:
    _, outcome = run(project, "stopping", days=DAYS)
    assert times("stopping") == 1
    assert failure(project, outcome)["failure_class"] == "resources"
    assert published(project, "stopping") == []


def test_a_mistake_in_the_code_stops_at_once(project: Project) -> None:
    succeeded, outcome = run(project, "mistake", days=DAYS)
    assert not succeeded
    assert times("mistake") == 1
    told = failure(project, outcome)
    assert (told["failure_class"], told["severity"]) == ("code", "critical")
    assert "no_such_column" in str(outcome.errors)
    assert project.instance.get_runs(dg.RunsFilter(tags={"ml_platform/severity": "critical"}))


def test_a_mistake_of_one_day_is_found_if_the_use_case_says_so(project: Project) -> None:
    _, outcome = run(project, "found_mistake", days=DAYS)
    assert published(project, "found_mistake") == ["2024-01-01", "2024-01-02", "2024-01-04"]
    assert (failure(project, outcome)["failure_class"], failure(project, outcome)["severity"]) == ("code", "low")


def test_a_refusal_is_of_the_class_data_and_is_not_tried_again(tmp_path: Path) -> None:
    variants = {name: Variant(failures, days=DAYS) for name, failures in REFUSING.items()}
    with tiny_project(tmp_path, variants) as project:
        for name in variants:
            (tmp_path / "data" / f"{name}-{BAD}.parquet").write_bytes(b"nothing")
            succeeded, outcome = run(project, name, days=DAYS)
            assert not succeeded
            told = failure(project, outcome)
            assert (told["failure_class"], told["severity"], told["partitions"][0]) == ("data", "medium", BAD)
            assert ("validated_data" in outcome.stages) == (name == "skips")


REFUSING: dict[str, dict[str, Any]] = {"skips": {}, "stops": {"failures": {"data": {"do": "stop"}}}}


# -- what is of which class ----------------------------------------------------------------------------------------


def closed_port() -> int:
    with create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def lock(file: Path) -> None:
    """Make another connection wait for a lock, and give up."""
    engine = sqlalchemy.create_engine(f"sqlite:///{file}", connect_args={"timeout": 0})
    with closing(sqlite3.connect(file)) as first, engine.connect() as second:
        first.execute("BEGIN EXCLUSIVE")
        second.execute(sqlalchemy.text("CREATE TABLE late (number INTEGER)"))


def ask_mlflow(_: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        MlflowClient(f"http://127.0.0.1:{closed_port()}").search_experiments()


def read_text_as_a_number(_: Path) -> None:
    pl.DataFrame({"a": ["x"]}).select(pl.col("a").cast(pl.Int64))


REAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "a locked database": (lock, "transient"),
    "a closed port": (lambda _: urlopen(f"http://127.0.0.1:{closed_port()}"), "transient"),
    "a closed port, by requests": (lambda _: requests.get(f"http://127.0.0.1:{closed_port()}", timeout=5), "transient"),
    "a tracking server that is away": (ask_mlflow, "transient"),
    "a table that is not there": (lambda folder: sqlite3.connect(folder / "a").execute("SELECT * FROM b"), "code"),
    "more memory than there is": (lambda _: bytearray(2**62), "resources"),
    "a file that is not there": (lambda folder: (folder / "none").read_text(), "code"),
    "a cast that fails": (read_text_as_a_number, "code"),
    "a key that is not there": (lambda _: {}["a"], "code"),
}


@pytest.mark.parametrize("fault", REAL)
def test_the_class_of_an_error(tmp_path: Path, fault: str) -> None:
    raises, expected = REAL[fault]
    with pytest.raises((Exception, MlflowException)) as caught:
        raises(tmp_path / "busy.db" if raises is lock else tmp_path)
    assert failure_class(caught.value) == expected


def test_what_an_error_was_raised_for_tells_its_class() -> None:
    error = ValueError("no model")
    error.__cause__ = ConnectionRefusedError()
    assert failure_class(error) == "transient"
    assert failure_class(StageError("took too long.", "resources")) == "resources"


FULL_DISK = """
import resource, sys
from datetime import date
import polars as pl
from ml_platform.resources.lake import Table
from ml_platform.stages.failures import failure_class

table = Table(sys.argv[1], {})
rows = pl.DataFrame({"amount": range(100_000), "partition": [date(2024, 1, 1)] * 100_000})
table.overwrite(rows.head(1), [date(2024, 1, 1)])
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    table.overwrite(rows, [date(2024, 1, 1)])
except Exception as error:
    print(failure_class(error))
"""


def test_a_table_that_has_no_room_is_a_failure_of_resources(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "table")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.stdout.strip() == "resources", said.stderr
    assert Table(str(tmp_path / "table"), {}).scan().collect().height == 1
