"""Thirty days of data that come in by themselves, on a simulated clock in Berlin: the expected runs, and no other."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from ml_platform.automation import files
from ml_platform_tests.automation.simulation import Simulation
from ml_platform_tests.tiny_project import Variant, payments, tiny_project

NAME, FIRST_DAY = "tiny", date(2024, 3, 4)
AUTOMATED = Variant(
    changes={
        "partitions": {"every": "day", "start": f"{FIRST_DAY}", "end": None},
        "model": {"every": "week"},
        "automation": {"on": True, "time_zone": "Europe/Berlin"},
    },
    days=0,
)


@pytest.fixture
def simulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulation]:
    monkeypatch.setattr(files, "CLOCKS_DIFFER", 0)  # files and runs are of the same machine here, and seconds apart
    with tiny_project(tmp_path, {NAME: AUTOMATED}) as project:
        yield Simulation(project, datetime(2024, 3, 20))


def deliver(simulation: Simulation, day: str, *, fraud: int | None = None, more: float = 0) -> None:
    """The file of a day lands, whole: each amount with so much more, and each label this one."""
    rows = payments(date.fromisoformat(day)).head(100).with_columns(pl.col("amount") + more)
    if fraud is not None:
        rows = rows.with_columns(fraud=pl.lit(fraud))
    unfinished = simulation.project.folder / "unfinished"
    rows.write_parquet(unfinished)
    unfinished.rename(simulation.project.folder / "data" / f"{NAME}-{day}.parquet")


def night(simulation: Simulation, day: str) -> list[str]:
    """What is launched in the night after a day."""
    after = date.fromisoformat(day) + timedelta(days=1)
    return [run for time in ("00:35", "03:05", "04:05") for run in simulation.at(f"{after} {time}")]


def good_night(simulation: Simulation, day: str) -> None:
    """A night in which the day's file comes, and is all that happens."""
    deliver(simulation, day)
    assert night(simulation, day) == [f"files: data {day} good", f"predictions: predictions {day} good"]


def test_thirty_days(simulation: Simulation) -> None:
    # switched on with sixteen days of files
    for number in range(16):
        deliver(simulation, f"{FIRST_DAY + timedelta(days=number)}")
    assert night(simulation, "2024-03-19") == [
        "files: data 2024-03-04..2024-03-19 good",
        "training: model 2024-03-18 good",
        "predictions: predictions 2024-03-18..2024-03-19 good",
    ]
    good_night(simulation, "2024-03-20")

    # a file is late: its day is missed once, and so is the next one, which looks back at it
    assert night(simulation, "2024-03-21") == ["data: data 2024-03-21 refused"]
    deliver(simulation, "2024-03-22")
    assert night(simulation, "2024-03-22") == ["files: data 2024-03-22 refused"]
    deliver(simulation, "2024-03-21")
    assert simulation.at("2024-03-23 12:00") == [
        "files: data 2024-03-21..2024-03-22 good",
        "predictions: predictions 2024-03-21..2024-03-22 good",
    ]

    # a file is bad: nothing is made of it, and it is not tried again until it is corrected
    deliver(simulation, "2024-03-23", fraud=7)
    assert night(simulation, "2024-03-23") == ["files: data 2024-03-23 refused"]
    deliver(simulation, "2024-03-24")
    assert night(simulation, "2024-03-24") == [
        "files: data 2024-03-24 refused",
        "training: model 2024-03-25 refused",
    ]
    deliver(simulation, "2024-03-23")
    assert simulation.at("2024-03-25 12:00") == [
        "files: data 2024-03-23..2024-03-24 good",
        "predictions: predictions 2024-03-23..2024-03-24 good",
    ]
    deliver(simulation, "2024-03-25")
    assert night(simulation, "2024-03-25") == [
        "files: data 2024-03-25 good",
        "predictions: predictions 2024-03-25 good",
        "training: model 2024-03-25 good",
        "predictions: predictions 2024-03-25 good",  # of the day since the new champion's cutoff
    ]
    good_night(simulation, "2024-03-26")

    # a published day is corrected: the day after looks back at it
    deliver(simulation, "2024-03-22", more=1)
    assert simulation.at("2024-03-27 12:00") == [
        "files: data 2024-03-22 good",
        "predictions: predictions 2024-03-22..2024-03-23 good",
    ]
    good_night(simulation, "2024-03-27")

    # somebody moves the alias in MLflow
    resources = simulation.project.definitions.resources or {}
    tracking = resources["tracking"]
    tracking.crown(tracking.version(NAME, 1))
    assert simulation.at("2024-03-28 12:00") == [
        "predictions: predictions 2024-03-22..2024-03-23 good",
        "predictions: predictions 2024-03-25..2024-03-27 good",
    ]
    assert "moved from version 2 to 1 in MLflow" in str(simulation.said["mlflow"])
    good_night(simulation, "2024-03-28")
    good_night(simulation, "2024-03-29")
    good_night(simulation, "2024-03-30")  # of which two o'clock does not exist

    # the daemon is off for three days
    for day in ("2024-03-31", "2024-04-01", "2024-04-02"):
        deliver(simulation, day)
    assert simulation.at("2024-04-03 12:00") == [
        "data: data 2024-03-31..2024-04-02 good",
        "training: model 2024-04-01 good",
        "predictions: predictions 2024-03-31..2024-04-02 good",
    ]
    assert simulation.said["files"] == "The files are read already."
    assert simulation.at("2024-04-03 18:00") == []
    assert simulation.said["files"] == "None of 30 files is new or changed."
    assert simulation.said["predictions"] == "Neither features nor champion have changed."
    assert simulation.said["mlflow"] == "The champion is the one of the ledger."
    _check_tables(simulation)


def _check_tables(simulation: Simulation) -> None:
    """Each day is there once, and what was predicted was predicted by one version."""
    lake = simulation.project.work(NAME).lake
    features = lake.table(dg.AssetKey([NAME, "features"])).scan().collect()
    assert features["partition"].n_unique() == 30
    assert features["id"].is_unique().all()
    predictions = lake.table(dg.AssetKey([NAME, "predictions"])).scan().collect()
    assert predictions["partition"].min() == date(2024, 3, 18)
    assert predictions["partition"].n_unique() == 16
    assert predictions["id"].is_unique().all()
    assert predictions.group_by("partition").agg(pl.col("model_version").n_unique())["model_version"].max() == 1
