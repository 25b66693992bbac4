"""Thirty days of a use case that runs by itself, on a simulated clock: the expected runs, and no other."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from ml_platform.automation import files
from ml_platform_tests.automation.simulation import Simulation
from ml_platform_tests.tiny_project import Variant, payments, tiny_project

NAME, START = "tiny", date(2024, 3, 11)
AUTOMATED = Variant(
    changes={
        "partitions": {"every": "day", "start": f"{START}", "end": None},
        "model": {"every": "week"},
        "automation": {"on": True, "time_zone": "Europe/Berlin"},
    },
    days=0,
)


def deliver(folder: Path, day: str, *, bad: bool = False, corrected: bool = False) -> None:
    """The file of a day lands, whole."""
    rows = payments(date.fromisoformat(day)).head(100)
    if bad:
        rows = rows.with_columns(fraud=pl.lit(7))
    if corrected:
        rows = rows.with_columns(pl.col("amount") + 1)
    unfinished = folder / "unfinished"
    rows.write_parquet(unfinished)
    unfinished.rename(folder / "data" / f"{NAME}-{day}.parquet")


@pytest.fixture
def simulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulation]:
    # the files and the runs of this test are of the same machine, and seconds apart
    monkeypatch.setattr(files, "CLOCKS_DIFFER", 0)
    with tiny_project(tmp_path, {NAME: AUTOMATED}) as project:
        yield Simulation(project, datetime(2024, 3, 18))


def night(simulation: Simulation, day: date, **delivered: bool) -> list[str]:
    """A file lands half an hour after its day, and everything looks until four o'clock."""
    after = day + timedelta(days=1)
    if delivered.pop("comes", True):
        deliver(simulation.project.folder, f"{day}", **delivered)
    return [
        run
        for time in ("00:35", "00:40", "02:00", "02:05", "03:05", "04:00", "04:05")
        for run in simulation.at(f"{after} {time}")
    ]


def test_thirty_days(simulation: Simulation) -> None:
    for number in range(7):
        deliver(simulation.project.folder, f"{START + timedelta(days=number)}")
    found = simulation.at("2024-03-18 00:35")
    for number in range(30):
        day = date(2024, 3, 18) + timedelta(days=number)
        found += night(simulation, day)
    print("\n".join(found))
    print(simulation.said)
    assert 0
