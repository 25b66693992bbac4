"""Crash drills: runs that end anywhere, forked from a process that has imported all and used nothing.

This file is that process's script too. There, and not in the package, calls are wrapped so that the n-th of them ends
the run.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property, wraps
from importlib import import_module
from itertools import count
from pathlib import Path
from select import select
from time import monotonic, sleep
from typing import Any, Self

import dagster as dg
import polars as pl

from ml_platform.io_managers.reports import ReportIOManager
from ml_platform.partitions import day_of
from ml_platform.resources.lake import Lake
from ml_platform.resources.tracking import Tracking
from ml_platform_tests.projects import write_project, write_use_case

PACKAGE = "drill_project"
DAYS = [f"{date(2024, 1, 1) + timedelta(days=number)}" for number in range(10)]
MEASURED = {"wall_seconds", "cpu_seconds", "peak_memory_bytes", "rows_in", "bytes_in", "bytes_out"}
"""What a run took, which no two take alike."""
TABLES = ("raw_data", "quarantine", "validated_data", "features")
MODEL = ("model", "evaluation", "promotion")
DATA = ("raw_data", "validated_data", "features")
OLD, NEW = 0, 1
ROWS = (20, 24)
"""The rows of a day in the even versions of the source, and in the odd ones."""

YAML = """
type: ml_platform.components.UseCase
attributes:
  name: drill
  task: binary_classification
  source: {type: files, path: "data/{partition}.parquet", format: parquet}
  partitions: {every: day, start: 2024-01-01, end: 2024-01-11}
  contract:
    key: [id]
    event_time: at
    quarantine_at_most: 0.2
    columns:
      id: {type: int64}
      at: {type: datetime}
      size: {type: float64, min: 0}
      target: {type: int64, one_of: [0, 1]}
  features: {transform: .features:build, lookback: 1 day}
  label: {column: target, known_after: 1 day}
  model:
    every: day
    train_on: 3 days
    hold_out: 2 days
    estimator: sklearn.linear_model.LogisticRegression
  gates:
    - {metric: roc_auc, at_least: 0.1}
  registry: {name: drill}
"""

FEATURES = """
import polars as pl


def build(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.select("id", "at", "target", "size", twice=2 * pl.col("size"))
"""

# which calls can be made the last ones of a run: the module, and the attribute of it
SEAMS = {
    "file": ("upath.implementations.local", "PosixUPath.write_bytes"),
    "rename": ("upath.implementations.local", "PosixUPath.rename"),
    "commit": ("deltalake", "DeltaTable.create_write_transaction"),
    "first commit": ("deltalake.transaction", "create_table_with_add_actions"),
    # what was published; what was said of it is recorded after it
    "record": ("ml_platform.stages.execution", "record"),
    "chunk": ("ml_platform.stages.execution", "say"),
    "transform": (f"{PACKAGE}.defs.drill.features", "build"),
    "tag": ("mlflow", "MlflowClient.set_tag"),
    "mirror": ("ml_platform.event_log", "BatchedSqliteEventLogStorage._mirror"),
    "job": ("ml_platform.cli.run", "run_use_case"),
    "stamp": ("alembic.runtime.migration", "HeadMaintainer._insert_version"),
    "migrations": ("mlflow.store.db.utils", "_upgrade_db"),
    "ddl": ("alembic.ddl.impl", "DefaultImpl._exec"),
    "crown": ("ml_platform.resources.tracking", "Tracking.crown"),
}
COUNTED = {
    "ml_platform.stages.execution:record": lambda arguments: any(
        isinstance(event, dg.AssetMaterialization) for event in arguments[1]
    ),
}
"""Which calls are counted, where that is not all of them."""
WARM = (
    "deltalake.transaction",
    "ml_platform.cli",
    "ml_platform.event_log",
    "sklearn.compose",
    "sklearn.impute",
    "sklearn.linear_model",
    "skops.io",
    "mlflow.sklearn",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "dagster_mlflow",
    "matplotlib.figure",
)


@dataclass(frozen=True)
class End:
    """Where a run ends: at the n-th call of a seam; before it, after it, or with half of what it writes.

    `together` does not end it, but makes it wait there for another run to come as far, three seconds at most.
    """

    seam: str
    call: int
    when: str = "before"
    by: str = "SIGKILL"

    def __str__(self) -> str:
        return f"{self.when} {self.seam} {self.call}"


@dataclass(frozen=True)
class Job:
    """A run: of stages over the days from first to last, with chunks of so many days, ended somewhere or not."""

    stages: Sequence[str] = DATA
    first: str = DAYS[0]
    last: str = DAYS[-1]
    days_a_chunk: int = 2
    end: End | None = None
    options: Sequence[str] = ()
    seconds: float = 0
    """After how many of them the run is ended, wherever it is; 0 is never."""

    def arguments(self) -> list[str]:
        """The arguments of `ml-platform`."""
        stages = [argument for stage in self.stages for argument in ("--stage", stage)]
        return ["run", "drill", "--from", self.first, "--to", self.last, *stages, *self.options]


# -- the warm process ----------------------------------------------------------------------------------------------


def serve() -> None:
    """Fork the runs of each line of standard input and tell their process ids, then how they ended."""
    for module in WARM:
        import_module(module)
    for line in sys.stdin:
        children = [_forked(job) for job in json.loads(line)]
        sys.stdout.write(json.dumps(children) + "\n")
        sys.stdout.flush()
        ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        sys.stdout.write(json.dumps(ends) + "\n")
        sys.stdout.flush()


def _forked(job: dict[str, Any]) -> int:
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        status = _run(job)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 71
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run(job: dict[str, Any]) -> int:
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    sys.path.insert(0, job["folder"])
    from ml_platform.cli import app
    from ml_platform.stages import chunks

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background may have ignored it
    chunks.FIRST = job["days_a_chunk"]
    chunks.CHUNK_BYTES = 8 * 4 * (max(ROWS) * job["days_a_chunk"] + 1)  # of a contract of four columns
    if job["end"]:
        _arm(End(**job["end"]))
    if job["seconds"]:
        _at_call(SEAMS["job"], 1, lambda _: signal.setitimer(signal.ITIMER_REAL, job["seconds"]))
    app(job["arguments"])
    return 72  # typer always exits


def nothing(*_: object) -> None:
    """Do nothing."""


def _arm(end: End) -> None:
    def stop(*_: object) -> None:
        os.kill(os.getpid(), signal.Signals[end.by])

    def halve(arguments: tuple[Any, ...]) -> None:
        if end.seam == "record":  # the rows are written, and not committed
            _at_call(SEAMS["mirror"], 1, nothing, stop)
        else:
            file, content = arguments
            with file.open("wb") as opened:
                opened.write(content[: len(content) // 2])
            stop()

    match end.when:
        case "together":
            _at_call(SEAMS[end.seam], end.call, lambda _: _meet())
        case "before":
            _at_call(SEAMS[end.seam], end.call, stop)
        case "after":
            _at_call(SEAMS[end.seam], end.call, nothing, stop)
        case _:
            _at_call(SEAMS[end.seam], end.call, halve)


def _meet() -> None:
    home = Path(os.environ["ML_PLATFORM_HOME"])
    (home / f"here-{os.getpid()}").touch()
    latest = monotonic() + 3
    while len(list(home.glob("here-*"))) < 2 and monotonic() < latest:
        sleep(0.001)


def _at_call(
    seam: tuple[str, str],
    number: int,
    before: Callable[..., object],
    after: Callable[..., object] = nothing,
) -> None:
    """Do something before and after the n-th call of a seam."""
    module, path = seam
    *owners, name = path.split(".")
    owner: Any = import_module(module)
    for one in owners:
        owner = getattr(owner, one)
    original, calls, counted = getattr(owner, name), count(1), COUNTED.get(module + ":" + path)

    @wraps(original)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        if (counted and not counted(arguments)) or next(calls) != number:
            return original(*arguments, **options)
        before(arguments)
        result = original(*arguments, **options)
        after()
        return result

    setattr(owner, name, wrapped)


# -- the tests' side -----------------------------------------------------------------------------------------------


class Started:
    """Runs that go on at once."""

    def __init__(self, process: "subprocess.Popen[str]", logs: Sequence[Path]) -> None:
        self._process, self._logs = process, logs
        self.children: list[int] = json.loads(self._line())

    def going_on(self) -> bool:
        """Whether not all have ended."""
        return not select([self._process.stdout], [], [], 0)[0]

    def ends(self) -> list[int]:
        """The exit code of each, negative where a signal ended it, once all have ended."""
        return json.loads(self._line())

    def logs(self) -> list[str]:
        """What each wrote to the terminal."""
        return [log.read_text() for log in self._logs]

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


class Warm:
    """The process that runs are forked from."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()

    def start(self, home: "Home", *jobs: Job) -> Started:
        """Start runs on a home, all at once."""
        logs = [home.folder / f"log{number}" for number, _ in enumerate(jobs)]
        lines = [
            {
                "folder": str(home.project),
                "environment": home.environment(),
                "log": str(log),
                "arguments": job.arguments(),
                "days_a_chunk": job.days_a_chunk,
                "end": vars(job.end) if job.end else None,
                "seconds": job.seconds,
            }
            for job, log in zip(jobs, logs, strict=True)
        ]
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(lines) + "\n")
        self._process.stdin.flush()
        return Started(self._process, logs)

    def run(self, home: "Home", job: Job) -> tuple[int, str]:
        """Run to the end; the exit code and what was written to the terminal."""
        started = self.start(home, job)
        (end,) = started.ends()
        return end, started.logs()[0]


@dataclass(frozen=True)
class Stored:
    """What a home has of one table: rows and data versions by day."""

    rows: Mapping[str, pl.DataFrame]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Home:
    """Where runs store everything."""

    project: Path
    folder: Path
    lake_root: Path | None = None
    cutoff = f"{day_of(DAYS[-1]) + timedelta(days=1)}"

    def environment(self) -> dict[str, str]:
        """The environment of its runs."""
        return {
            "ML_PLATFORM_HOME": str(self.folder),
            "DAGSTER_HOME": str(self.folder / "dagster"),
            "ML_PLATFORM_LAKE": self.lake().root,
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "DAGSTER_EVENT_BATCH_SIZE": "1000",
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder / 'mlflow.db'}",
        }

    def lake(self) -> Lake:
        """Its lake."""
        return Lake(root=str(self.lake_root or self.folder / "lake"))

    def copy(self, folder: Path, lake_root: Path | None = None) -> "Home":
        """A copy, which shares only the artifacts of the tracking server; its lake may lie elsewhere."""
        shutil.copytree(self.folder, folder)
        if lake_root is not None:
            shutil.move(folder / "lake", lake_root)
        return Home(self.project, folder, lake_root)

    def stored(self, stage: str) -> Stored:
        """What its table of a stage has."""
        table = self.lake().table(dg.AssetKey(["drill", stage]))
        if not table.exists():
            return Stored({}, {})
        versions = {f"{day}": version for day, version in table.data_versions(map(day_of, DAYS)).items()}
        return Stored(by_day(table.scan().collect()), versions)

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """Its Dagster instance."""
        instance = dg.DagsterInstance.from_config(str(self.folder / "dagster"))
        try:
            yield instance
        finally:
            instance.dispose()

    def statuses(self) -> list[str]:
        """How its runs ended, the newest first."""
        with self.instance() as instance:
            return [run.status.value for run in instance.get_runs()]

    def reports(self) -> ReportIOManager:
        """The I/O manager of its reports."""
        return ReportIOManager(lake=self.lake())

    def tracking(self) -> Tracking:
        """Its tracking server."""
        return Tracking(uri=f"sqlite:///{self.folder / 'mlflow.db'}", artifacts=str(self.folder / "artifacts"))

    def recorded(self, stage: str, days: Sequence[str] = DAYS) -> dict[str, tuple[str, dict[str, Any]]]:
        """The data version and the metadata of the newest record of each day."""
        key = dg.AssetKey(["drill", stage])
        with self.instance() as instance:
            ids = instance.event_log_storage.get_latest_storage_id_by_partition(
                key, dg.DagsterEventType.ASSET_MATERIALIZATION, set(days)
            )
            wanted = dg.AssetRecordsFilter(key, storage_ids=list(ids.values()))
            records = instance.fetch_materializations(wanted, limit=len(ids)).records if ids else []
        found = {one.partition_key: one.asset_materialization for one in records if one.asset_materialization}
        return {
            str(day): (
                one.tags["dagster/data_version"],
                {name: value.value for name, value in one.metadata.items() if name not in OF_A_COMMIT},
            )
            for day, one in found.items()
        }


OF_A_COMMIT = ("table_version", "dagster/column_schema", "preview")
"""What stands in the metadata of the last partition of a commit only, and depends on its number."""


def by_day(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The rows of each day, in an order of their own."""
    parts = rows.sort("id").partition_by("partition", as_dict=True)
    return {f"{day}": part for (day,), part in parts.items()}


def write_source(project: Path, version: int, days: Sequence[str] = DAYS) -> None:
    """Files of a version of the source; its rows differ from those of any other, its number from that before it."""
    for day in days:
        number = (day_of(day) - date(2024, 1, 1)).days
        rows = range(ROWS[version % 2])
        frame = pl.DataFrame(
            {
                "id": [1000 * number + row for row in rows],
                "at": [datetime.fromisoformat(day) + timedelta(minutes=row) for row in rows],
                # one row of each day breaks the contract
                "size": [-1.0 - version if row == 3 else row % 2 + (row * 7919 % 13) / 7 + version for row in rows],
                "target": [row % 2 for row in rows],
            },
            schema_overrides={"at": pl.Datetime("us")},
        )
        unfinished = project / "data" / f".{day}"
        frame.write_parquet(unfinished)
        unfinished.rename(project / "data" / f"{day}.parquet")


@dataclass(frozen=True)
class Drill:
    """A project, and homes in which the old and the new version of the source were run without a crash."""

    warm: Warm
    project: Path
    old: Home
    new: Home

    @cached_property
    def expected(self) -> dict[str, tuple[Stored, Stored]]:
        """What is stored of the old and of the new version, by table."""
        return {stage: (self.old.stored(stage), self.new.stored(stage)) for stage in TABLES}

    @cached_property
    def metadata(self) -> dict[str, dict[str, dict[str, Any]]]:
        """What is recorded of the days of the new version, by table."""
        return {stage: {day: one for day, (_, one) in self.new.recorded(stage).items()} for stage in TABLES}

    def assert_whole(self, home: Home) -> dict[str, tuple[int, int]]:
        """How many days of each table are stored new, and how many of them recorded.

        Every other day is as it was, whole and recorded, or was never stored.
        """
        numbers = {}
        for stage in TABLES:
            found, (old, new) = home.stored(stage), self.expected[stage]
            assert set(found.rows) == set(found.versions)
            for day, rows in found.rows.items():
                expected = new if found.versions[day] == new.versions[day] else old
                assert found.versions[day] == expected.versions[day], (stage, day)
                assert rows.equals(expected.rows[day]), (stage, day)
            recorded = {day: version for day, (version, _) in home.recorded(stage).items()}
            unrecorded = {day for day, version in found.versions.items() if recorded.get(day) != version}
            assert set(recorded) <= set(found.versions)
            assert all(recorded.get(day, old.versions[day]) == old.versions[day] for day in unrecorded)
            now = {day for day, version in found.versions.items() if version == new.versions[day]}
            assert unrecorded <= now
            numbers[stage] = (len(now), len(now - unrecorded))
        return numbers

    def assert_new(self, home: Home) -> None:
        """All is stored and recorded as by a run of the new version without a crash."""
        for stage in TABLES:
            found, (_, new), recorded = home.stored(stage), self.expected[stage], home.recorded(stage)
            assert sorted(found.rows) == DAYS
            for day in DAYS:
                assert found.rows[day].equals(new.rows[day]), (stage, day)
                assert found.versions[day] == new.versions[day] == recorded[day][0], (stage, day)

    def described(self, home: Home) -> dict[str, int]:
        """How many days of each table have all the metadata of a run without a crash; what they have is right."""
        numbers = {}
        for stage in TABLES:
            new = self.metadata[stage]
            found = {day: metadata for day, (_, metadata) in home.recorded(stage).items()}
            for day, metadata in found.items():
                for name, value in metadata.items():
                    if name != "unchanged" and name not in MEASURED:
                        assert value == new[day][name], (stage, day, name)
            numbers[stage] = sum(found[day].keys() >= new[day].keys() for day in found)
        return numbers

    def unchanged(self, home: Home) -> dict[str, int]:
        """How many days of each table its last run found unchanged."""
        return {stage: sum("unchanged" in one for _, one in home.recorded(stage).values()) for stage in TABLES}


@contextmanager
def drill(folder: Path) -> Iterator[Drill]:
    """A project with homes of its two versions, and the process that runs are forked from; its source is new."""
    project = folder / "project"
    project.mkdir()
    write_project(project, PACKAGE)
    write_use_case(project, PACKAGE, "drill", YAML, FEATURES)
    with Warm() as warm:
        homes = {version: fresh(project, folder / f"home{version}") for version in (OLD, NEW)}
        for version, home in homes.items():
            write_source(project, version)
            end, log = warm.run(home, Job(days_a_chunk=len(DAYS)))
            assert end == 0, log
        yield Drill(warm, project, homes[OLD], homes[NEW])


def fresh(project: Path, folder: Path) -> Home:
    """A home without anything in it but the settings of Dagster."""
    (folder / "dagster").mkdir(parents=True)
    shutil.copy(Path(__file__).parent.parent / "dagster.yaml", folder / "dagster")
    return Home(project, folder)


if __name__ == "__main__":
    serve()
