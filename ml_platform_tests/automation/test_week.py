"""A week with faults, on a simulated clock: the expected runs, incidents and champions, and no other."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from ml_platform.automation import files
from ml_platform.stages.attributes import asset_key
from ml_platform_tests.alerts.receivers import http_server
from ml_platform_tests.automation.journal import champions, incidents, runs
from ml_platform_tests.automation.simulation import Simulation
from ml_platform_tests.tiny_project import ROWS, Variant, payments, tiny_project

REPOSITORY = Path(__file__).parents[2]
NAME, FIRST_DAY, SWITCHED_ON = "tiny", date(2024, 3, 4), date(2024, 3, 27)
HUNG, DRIFT_FROM = "2024-03-30", date(2024, 3, 28)
HANGS = f"""
from pathlib import Path
from time import sleep

import polars as pl


def build(rows: pl.DataFrame) -> pl.DataFrame:
    if Path("hangs").exists() and f"{{rows['at'].max():%Y-%m-%d}}" == "{HUNG}":
        sleep(600)
    return rows.select("id", "at", "fraud", "amount")
"""
RUNS = [
    "03-27 00:35 files: data 2024-03-04..2024-03-26 good",
    "03-27 04:05 training: model 2024-03-27 good",
    "03-28 00:35 files: data 2024-03-27 refused",  # it breaks the contract
    "03-29 00:35 files: data 2024-03-28 refused",  # it looks back at it
    "03-29 12:00 files: data 2024-03-27..2024-03-28 good",  # corrected, and with it the day after
    "03-29 12:00 predictions: predictions 2024-03-27..2024-03-28 good",
    "03-30 03:05 data: data 2024-03-29 refused",  # its file is not there
    "03-30 12:00 files: data 2024-03-29 good",
    "03-30 12:00 predictions: predictions 2024-03-29 good",
    "03-31 00:35 files: data 2024-03-30 refused",  # it hangs
    "03-31 11:00 person: data 2024-03-30 good",
    "03-31 12:00 predictions: predictions 2024-03-30 good",
    "04-01 00:35 files: data 2024-03-31 killed",
    "04-01 00:35 retry: data 2024-03-31 good",
    "04-01 00:35 predictions: predictions 2024-03-31 good",
    "04-02 00:35 files: data 2024-04-01 good",
    "04-02 00:35 predictions: predictions 2024-04-01 good",
    "04-02 00:35 retraining: model 2024-04-02 good",  # on the first two days of the drift
    "04-03 00:35 files: data 2024-04-02 good",
    "04-03 00:35 predictions: predictions 2024-04-02 good",
    "04-03 12:00 predictions: predictions 2024-04-02 good",  # once more, by the version that the alias was moved to
]
INCIDENTS = [
    "03-27 04:05 [low] version 1 is champion: 1",
    "03-28 00:35..03-29 12:00 [medium] the check contract of validated_data failed 2024-03-27: 3",  # told again, too
    "03-29 00:35..03-29 12:00 [high] features is late 2024-03-27: 2",
    "03-29 00:35..03-29 12:00 [medium] the check complete of features failed 2024-03-28: 2",
    "03-29 12:00..04-03 00:35 [high] drift: the check no_drift of monitoring failed 2024-03-28 .. 2024-04-01 (5): 5",
    "03-30 03:05..03-30 12:00 [medium] the check readable of raw_data failed 2024-03-29: 2",
    "03-31 00:35..03-31 12:00 [high] the check complete of features failed 2024-03-30: 2",
    "04-01 00:35..04-01 00:35 [high] the run of tiny failed 2024-03-31: 2",  # until it was tried again
    "04-02 00:35 [low] version 2 is champion: 1",
    "04-03 12:00 [high] drift: the check no_drift of monitoring failed 2024-04-02: 1",  # as the old version sees it
    "04-03 12:00 [low] version 1 is champion: 1",
]
CHAMPIONS = [
    "promoted: version 1 of 2024-03-27 after none",
    "promoted: version 2 of 2024-04-02 after 1",
    "moved_in_mlflow: version 1 of 2024-03-27 after 2",
]
AUTOMATED = Variant(
    changes={
        "partitions": {"every": "day", "start": f"{FIRST_DAY}", "end": None},
        "limits": {"features": {"time": "5 seconds"}},
        "automation": {"on": True, "time_zone": "Europe/Berlin", "training": "0 4 27 * *"},
        "model": {"train_on": "2 days", "hold_out": "1 day"},
        "monitoring": {"retraining": {"enough_labels": 600, "cool_down": "6 days"}},  # all that a model is trained on
        "alerts": {"channels": {"risk": "RISK_ALERTS"}, "routes": {"low": ["risk"]}, "severities": {"drift": "high"}},
    },
    features=HANGS,
    days=0,
)


@pytest.fixture
def simulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulation]:
    monkeypatch.setattr(files, "CLOCKS_DIFFER", 0)  # files and runs are of the same machine here, and seconds apart
    (tmp_path / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    with http_server() as inbox, tiny_project(tmp_path, {NAME: AUTOMATED}) as project:
        monkeypatch.setenv("RISK_ALERTS", f"json://127.0.0.1:{inbox.port}")
        yield Simulation(project, datetime.combine(SWITCHED_ON, datetime.min.time()), inbox)


def deliver(simulation: Simulation, day: date, *, broken: bool = False) -> None:
    """The file of a day lands, whole."""
    rows = payments(day).with_columns(pl.col("amount") + (20 if day >= DRIFT_FROM else 0))
    if broken:
        rows = rows.with_columns(fraud=pl.lit(7))
    unfinished = simulation.project.folder / "unfinished"
    rows.write_parquet(unfinished)
    unfinished.rename(simulation.project.folder / "data" / f"{NAME}-{day}.parquet")


def night(simulation: Simulation, day: date, *times: str) -> None:
    """What happens in a night, looked at at these times."""
    for time in times or ("00:35", "03:05"):
        simulation.at(f"{day} {time}")


def test_a_week_with_faults(simulation: Simulation) -> None:
    days = [SWITCHED_ON + timedelta(days=number) for number in range(8)]
    for number in range((SWITCHED_ON - FIRST_DAY).days):
        deliver(simulation, FIRST_DAY + timedelta(days=number))
    night(simulation, days[0], "00:35", "04:05")

    # a day is bad, and corrected two days later
    deliver(simulation, days[0], broken=True)
    night(simulation, days[1])
    deliver(simulation, days[1])
    night(simulation, days[2])
    deliver(simulation, days[0])
    simulation.at(f"{days[2]} 12:00")

    # a day is late
    night(simulation, days[3])
    deliver(simulation, days[2])
    simulation.at(f"{days[3]} 12:00")

    # the transform hangs on a day, and somebody mends it
    hangs = simulation.project.folder / "hangs"
    hangs.touch()
    deliver(simulation, days[3])
    night(simulation, days[4])
    hangs.unlink()
    simulation.by_hand(f"{days[4]} 11:00", NAME, HUNG, HUNG)
    simulation.at(f"{days[4]} 12:00")

    # a run is killed; days that drift pass, until a model is trained on them
    simulation.kill_in = asset_key(simulation.project.use_case(NAME), "raw_data")
    for day in days[4:7]:
        deliver(simulation, day)
        night(simulation, day + timedelta(days=1))

    # somebody moves the alias
    tracking = simulation.project.work(NAME).tracking
    tracking.crown(tracking.version(NAME, 1))
    simulation.at(f"{days[7]} 12:00")

    assert runs(simulation) == RUNS
    assert [str(one) for one in incidents(simulation)] == INCIDENTS
    assert champions(simulation, NAME) == CHAMPIONS
    _check_once(simulation)


def _check_once(simulation: Simulation) -> None:
    """Each row is there once, whatever was refused, hung or killed; and the alias says who predicted."""
    work = simulation.project.work(NAME)
    features, predictions = (
        work.lake.table(asset_key(work.use_case, stage)).scan().collect() for stage in ("features", "predictions")
    )
    assert features["partition"].n_unique() == 30
    assert features.height == 30 * ROWS
    assert features["id"].is_unique().all()
    assert predictions.height == 7 * ROWS
    assert predictions["id"].is_unique().all()
    assert set(predictions["model_version"]) == {1}
