"""Weeks of the shipped use case on a simulated clock, with faults: what must happen by itself, and what did.

The files are the simulator's. A day's file lands in the night after it; the daemon looks at 0:35 and 3:05, and at noon
 where something is mended. `python -m benchmarks.week FOLDER` works in an empty folder and exits with 1 if anything
differs from what is expected here.
"""

import os
import sys
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from difflib import ndiff
from pathlib import Path
from time import monotonic

import polars as pl

from benchmarks.projects import USE_CASE, days_from, write_days, write_project
from benchmarks.report import table
from ml_platform.cli.project import Project, open_project
from ml_platform.stages.attributes import asset_key
from ml_platform_tests.alerts.receivers import http_server
from ml_platform_tests.automation.journal import champions, incidents, runs
from ml_platform_tests.automation.simulation import Simulation

FIRST_DAY, SWITCHED_ON, LAST_DAY = date(2018, 4, 1), date(2018, 6, 6), date(2018, 7, 19)
BAD, LATE, HUNG, KILLED = date(2018, 6, 7), date(2018, 6, 10), date(2018, 6, 12), date(2018, 6, 14)
DRIFT_FROM, MOVED = date(2018, 6, 13), date(2018, 7, 19)
NOON = {BAD + timedelta(days=3), LATE + timedelta(days=2), HUNG + timedelta(days=1), MOVED}
"""The days at whose noon something is mended, or the alias moved."""
LIMIT = "30 seconds"
CHANNEL = "RISK_ALERTS"
TRANSFORM = '''"""The features of the shipped use case, which on one day wait for something that never comes."""

from datetime import date
from pathlib import Path
from time import sleep

import polars as pl

from ml_platform.defs.card_fraud import features

HANGS = Path("{hangs}")


def build(payments: pl.DataFrame) -> pl.DataFrame:
    """As they are; endless where the newest payment is of the day that stands in a file."""
    if HANGS.exists() and payments["TX_DATETIME"].max().date() == date.fromisoformat(HANGS.read_text()):
        sleep(3600)
    return features.build(payments)
'''
CHANGES = {
    "limits": {"features": {"time": LIMIT}},
    # each quarter; what drifts in between is trained when it is noticed
    "automation": {"on": True, "time_zone": "Europe/Berlin", "training": "0 4 6 3,6,9,12 *"},
    # a week of new rows: fewer than that would teach a model neither the new state nor the old one
    "monitoring": {"retraining": {"enough_labels": 60_000}},
    "alerts": {"channels": {"risk": CHANNEL}, "routes": {"low": ["risk"]}},
}

Expected = Sequence[tuple[str, str]]
"""Lines, each with the reason why it must be there."""


def quiet(first: date, last: date) -> Expected:
    """The nights after these days, in which nothing happens but that their files land."""
    days = days_from(first, (last - first).days + 1)
    return [
        (f"{day + timedelta(days=1):%m-%d} 00:35 {what} {day} good", "a quiet night")
        for day in days
        for what in ("files: data", "predictions: predictions")
    ]


RUNS: Expected = (
    ("06-06 00:35 files: data 2018-04-01..2018-06-05 good", "the files that were there are one run"),
    ("06-06 04:05 training: model 2018-06-06 good", "the quarter's tick"),
    *quiet(date(2018, 6, 6), date(2018, 6, 6)),
    ("06-08 00:35 files: data 2018-06-07 refused", "a third of its amounts are negative"),
    ("06-09 00:35 files: data 2018-06-08 refused", "it looks back at a day that was refused"),
    ("06-10 00:35 files: data 2018-06-09 refused", "the same"),
    ("06-10 12:00 files: data 2018-06-07..2018-06-09 good", "corrected, and with it what waits for it"),
    ("06-10 12:00 predictions: predictions 2018-06-07..2018-06-09 good", "they follow their features"),
    ("06-11 03:05 data: data 2018-06-10 refused", "there is no file, and the schedule says so, once"),
    ("06-12 00:35 files: data 2018-06-11 refused", "it looks back at the missing day"),
    ("06-12 12:00 files: data 2018-06-10..2018-06-11 good", "the late file lands"),
    ("06-12 12:00 predictions: predictions 2018-06-10..2018-06-11 good", "they follow their features"),
    ("06-13 00:35 files: data 2018-06-12 refused", "its transform hangs, and is ended at its limit"),
    ("06-13 11:00 person: data 2018-06-12 good", "no file has changed, so that a person brings it in again"),
    ("06-13 12:00 predictions: predictions 2018-06-12 good", "they follow their features, whoever published them"),
    *quiet(date(2018, 6, 13), date(2018, 6, 13)),
    ("06-15 00:35 files: data 2018-06-14 killed", "its process is killed when the raw data is published"),
    ("06-15 00:35 retry: data 2018-06-14 good", "Dagster runs it again"),
    ("06-15 00:35 predictions: predictions 2018-06-14 good", "they follow their features"),
    *quiet(date(2018, 6, 15), date(2018, 7, 17)),
    (
        "07-18 00:35 retraining: model 2018-07-18 good",
        "trained on 06-20 to 06-26; of 06-13 to 06-19 fewer than 60,000 rows are since 06-14, when drift was noticed",
    ),
    *quiet(date(2018, 7, 18), date(2018, 7, 18)),
    ("07-19 12:00 predictions: predictions 2018-07-18 good", "those of version 2 are made again by version 1"),
    *quiet(date(2018, 7, 19), date(2018, 7, 19)),
)
OF_DRIFT = "drift: the check no_drift of monitoring failed"
INCIDENTS: Expected = (
    ("06-06 04:05 [low] version 1 is champion: 1", "the first model passes its gates"),
    (
        "06-08 00:35..06-10 12:00 [medium] the check contract of validated_data failed 2018-06-07: 4",
        "told, on two days again, and when it is over",
    ),
    ("06-09 00:35..06-10 12:00 [high] features is late 2018-06-07 .. 2018-06-08 (2): 3", "a day after their ends"),
    (
        "06-09 00:35..06-10 12:00 [medium] the check complete of features failed 2018-06-08 .. 2018-06-09 (2): 3",
        "two days that look back at it are one incident",
    ),
    ("06-11 03:05..06-12 12:00 [medium] the check readable of raw_data failed 2018-06-10: 3", "no file"),
    ("06-12 00:35..06-12 12:00 [high] features is late 2018-06-10: 2", "a day after its end"),
    ("06-12 00:35..06-12 12:00 [medium] the check complete of features failed 2018-06-11: 2", "it looks back at it"),
    ("06-13 00:35..06-13 12:00 [high] the check complete of features failed 2018-06-12: 2", "resources: it hangs"),
    ("06-15 00:35..06-15 00:35 [high] the run of card_fraud failed 2018-06-14: 2", "until it was tried again"),
    (
        f"06-15 00:35..07-19 00:35 [medium] {OF_DRIFT} 2018-06-14 .. 2018-07-17 (34): 35",
        "the second day is enough to tell it from luck; told every day, and when version 2 has ended it",
    ),
    ("07-18 00:35 [low] version 2 is champion: 1", "it passes the gates, next to version 1"),
    (f"07-19 12:00 [medium] {OF_DRIFT} 2018-07-18: 1", "version 1 does not know the new state"),
    ("07-19 12:00 [low] version 1 is champion: 1", "whoever moves it in MLflow, it is told"),
)
CHAMPIONS: Expected = (
    ("promoted: version 1 of 2018-06-06 after none", "the quarter's model"),
    ("promoted: version 2 of 2018-07-18 after 1", "because of the drift"),
    ("moved_in_mlflow: version 1 of 2018-06-06 after 2", "by hand"),
)


class Weeks:
    """The days of the scenario, one after another."""

    def __init__(self, project: Project, simulation: Simulation, data: Path) -> None:
        self._project, self._simulation, self._data = project, simulation, data
        self._hangs = project.folder / "hangs"

    def run(self) -> None:
        """Let all days pass."""
        for day in days_from(FIRST_DAY, (SWITCHED_ON - FIRST_DAY).days):
            self._deliver(day)
        self._night(SWITCHED_ON)
        self._simulation.at(f"{SWITCHED_ON} 04:05")
        for day in days_from(SWITCHED_ON, (LAST_DAY - SWITCHED_ON).days + 1):
            if day in NOON:
                self._noon(day)
            if day == BAD:
                self._deliver(day, spoilt)
            elif day == HUNG:
                self._hangs.write_text(f"{day}", encoding="utf-8")
                self._deliver(day)
            elif day == KILLED:
                self._deliver(day)
                self._simulation.kill_in = asset_key(self._project.use_case(USE_CASE), "raw_data")
            elif day != LATE:
                self._deliver(day)
            self._night(day + timedelta(days=1))

    def _night(self, day: date) -> None:
        for time in ("00:35", "03:05"):
            self._simulation.at(f"{day} {time}")

    def _noon(self, day: date) -> None:
        """What people do: mend and deliver, bring in again, move the alias."""
        if day == BAD + timedelta(days=3):
            self._deliver(BAD)
        elif day == LATE + timedelta(days=2):
            self._deliver(LATE)
        elif day == HUNG + timedelta(days=1):
            self._hangs.unlink()
            self._simulation.by_hand(f"{day} 11:00", USE_CASE, f"{HUNG}", f"{HUNG}")
        else:
            tracking = self._project.work(USE_CASE).tracking
            tracking.crown(tracking.version(USE_CASE, 1))
        self._simulation.at(f"{day} 12:00")

    def _deliver(self, day: date, change: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows) -> None:
        """The file of a day lands, whole."""
        rows = pl.read_parquet(self._data / f"{day}.parquet")
        if day >= DRIFT_FROM:
            rows = at_night(rows)
        unfinished = self._project.folder / "unfinished"
        change(rows).write_parquet(unfinished)
        unfinished.rename(self._project.folder / "data" / f"{day}.parquet")


def spoilt(rows: pl.DataFrame) -> pl.DataFrame:
    """A day of which each third amount has the wrong sign."""
    amount = pl.col("TX_AMOUNT")
    return rows.with_columns(
        pl.when(pl.int_range(pl.len()) % 3 == 0).then(-1 - amount).otherwise(amount).alias("TX_AMOUNT")
    )


def at_night(rows: pl.DataFrame) -> pl.DataFrame:
    """A day of which each fifth payment is made in the first hours of the morning."""
    time = pl.col("TX_DATETIME")
    early = time.dt.truncate("1d") + (time - time.dt.truncate("1d")) / 4
    moved = pl.when(pl.int_range(pl.len()) % 5 == 0).then(early.dt.truncate("1s")).otherwise(time)
    return rows.with_columns(moved.alias("TX_DATETIME")).sort("TX_DATETIME", maintain_order=True)


def differences(title: str, expected: Expected, found: Sequence[str]) -> list[str]:
    """What is missing (-) and what nobody expected (+), none if nothing differs."""
    compared = list(ndiff([line for line, _ in expected], list(found)))
    return [f"{title}: {line}" for line in compared if line[:2] in {"- ", "+ "}]


def doubled_or_lost(project: Project) -> list[str]:
    """What is wrong with the published tables: a row that is there twice, a day that is not, another's predictions."""
    work, found = project.work(USE_CASE), []
    for stage, first in (("features", FIRST_DAY), ("predictions", SWITCHED_ON)):
        rows = work.lake.table(asset_key(work.use_case, stage)).scan().collect()
        days = days_from(first, (LAST_DAY - first).days + 1)
        if sorted(rows["partition"].unique()) != days:
            found.append(f"{stage}: not the days {first} to {LAST_DAY}")
        if not rows["TRANSACTION_ID"].is_unique().all():
            found.append(f"{stage}: a payment is there twice")
    if set(rows["model_version"]) != {1}:
        found.append("predictions: not all are by version 1, which the alias was moved to")
    return found


def main(folder: Path) -> int:
    """Let the weeks pass, print what happened and how it differs from what is expected; 0 if it does not."""
    begin, data = monotonic(), folder / "simulated"
    write_days(data, days_from(FIRST_DAY, (LAST_DAY - FIRST_DAY).days + 1))
    place = write_project(folder / "project", folder / "project" / "data", more=CHANGES)
    (place / "data").mkdir()
    (place / "measured" / "defs" / USE_CASE / "features.py").write_text(
        TRANSFORM.format(hangs=place / "hangs"), encoding="utf-8"
    )
    file = place / "measured" / "defs" / USE_CASE / "defs.yaml"
    shipped = "ml_platform.defs.card_fraud.features:build"
    file.write_text(file.read_text(encoding="utf-8").replace(shipped, ".features:build"), encoding="utf-8")
    os.chdir(place)
    with http_server() as inbox:
        os.environ[CHANNEL] = f"json://127.0.0.1:{inbox.port}"
        project = open_project()
        simulation = Simulation(project, datetime.combine(SWITCHED_ON, datetime.min.time()), inbox)
        Weeks(project, simulation, data).run()
        found = [*show(simulation), *doubled_or_lost(project)]
        project.instance.dispose()
    seconds = sum(one.seconds for one in simulation.launched)
    print(
        f"\n{len(simulation.launched)} runs took {seconds:.0f} s, all of it {monotonic() - begin:.0f} s.\n", flush=True
    )
    print("\n".join(found) or "As expected.", flush=True)
    return 1 if found else 0


def show(simulation: Simulation) -> list[str]:
    """Print runs, incidents and champions; how they differ from what is expected."""
    launched = [
        [f"{one.at:%m-%d %H:%M}", one.by, one.group, one.first, one.last, one.end, f"{one.seconds:.1f}"]
        for one in simulation.launched
    ]
    told = incidents(simulation)
    rows = [[one.opened, one.resolved, one.severity, one.what, one.partitions, str(one.messages)] for one in told]
    moves = champions(simulation, USE_CASE)
    print(table(["simulated time", "launched by", "stages", "first", "last", "ended", "s"], launched), end="\n\n")
    print(table(["opened", "resolved", "severity", "incident", "partitions", "messages"], rows), end="\n\n")
    print(table(["champions"], [[one] for one in moves]))
    return [
        *differences("runs", RUNS, runs(simulation)),
        *differences("incidents", INCIDENTS, [str(one) for one in told]),
        *differences("champions", CHAMPIONS, moves),
    ]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
