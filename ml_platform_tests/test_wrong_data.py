"""Wrong data in real runs: each kind is refused with a sentence that names the place, and nothing is half-written."""

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from ml_platform.cli import app
from ml_platform.cli.outcome import Outcome
from ml_platform.cli.project import Project
from ml_platform.cli.run import run_use_case
from ml_platform.resources.lake import Lake
from ml_platform.sources import retrying
from ml_platform.use_case import Stage
from ml_platform_tests.conftest import opened
from ml_platform_tests.projects import write_project, write_use_case

DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")
GOOD, BAD = DAYS[:2]
YAML = """
type: ml_platform.components.UseCase
attributes:
  name: shop
  task: binary_classification
  source: {source}
  partitions: {{every: day, start: 2024-01-01, end: 2024-01-04}}
  contract:
    key: [id]
    event_time: at
    columns:
      id: {{type: int64}}
      at: {{type: datetime}}
      amount: {{type: float64}}
      city: {{type: string, one_of: [Bern, Rome]}}
      fraud: {{type: int64, nullable: false, one_of: [0, 1]}}
    quarantine_at_most: 10%
  label: {{column: fraud}}
  model: {{estimator: sklearn.linear_model.LogisticRegression, train_on: 1 day, hold_out: 1 day}}
  registry: {{name: shop}}
"""
FILES = '{type: files, path: "data/{partition}.csv", format: csv}'
STAGES: tuple[Stage, ...] = ("raw_data", "quarantine", "validated_data", "features")


def sales(day: str, rows: int = 20) -> pl.DataFrame:
    at = datetime.fromisoformat(day)
    return pl.DataFrame(
        {
            "id": range(rows),
            "at": [f"{at + timedelta(minutes=number):%Y-%m-%d %H:%M:%S}" for number in range(rows)],
            "amount": [f"{number + 0.5}" for number in range(rows)],
            "city": ["Bern", "Rome"] * (rows // 2),
            "fraud": ["0", "1"] * (rows // 2),
        }
    )


def written(rows: pl.DataFrame) -> bytes:
    return rows.write_csv().encode()


@contextmanager
def shop(folder: Path, source: str = FILES, yaml: str = YAML) -> Iterator[Project]:
    """A project whose days are all good."""
    package = f"shop_{folder.name.replace('-', '_')}"
    write_project(folder, package)
    write_use_case(folder, package, "shop", yaml.format(source=source))
    for day in DAYS:
        (folder / "data" / f"{day}.csv").write_bytes(written(sales(day)))
    with pytest.MonkeyPatch.context() as patch:
        yield from opened(folder, patch)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with shop(tmp_path_factory.mktemp("wrong")) as one:
        assert run(one)[0]
        yield one


def run(project: Project, last: str = BAD, stages: tuple[Stage, ...] = STAGES) -> tuple[bool, Outcome]:
    return run_use_case(project, "shop", GOOD, last, stages=stages, quiet=True)


def published(project: Project, stage: Stage) -> dict[str, int]:
    """The number of rows that can be read, by partition."""
    table = Lake(root=str(project.folder / ".ml_platform" / "lake")).table(dg.AssetKey(["shop", stage]))
    if not table.exists():
        return {}
    counted = table.scan().group_by("partition").len().collect()
    return {f"{day}": rows for day, rows in counted.iter_rows()}


def refused(outcome: Outcome, check: str) -> dict[str | None, str]:
    return {one.partition: str(one.reason) for one in outcome.checks if one.name == check and not one.passed}


@dataclass(frozen=True)
class Wrong:
    """What is in the file of the bad day, the check that refuses it and what it says."""

    content: bytes | None
    check: str
    said: tuple[str, ...]


def of(change: Callable[[pl.DataFrame], pl.DataFrame], check: str, *said: str) -> Wrong:
    return Wrong(written(change(sales(BAD))), check, said)


WHOLE = written(sales(BAD))
FILE = f"{BAD}.csv"
WRONG = {
    "missing": Wrong(None, "readable", (f"no file data/{FILE}; check source.path, or deliver the file.",)),
    "empty": Wrong(b"", "readable", (FILE, "the file is empty")),
    "header only": Wrong(b"id,at,amount,city,fraud\n", "readable", ("the source gave no rows",)),
    "binary": Wrong(bytes(range(256)), "readable", (FILE, "cannot be read as csv: line 2 has ")),
    "cut off": Wrong(WHOLE[: WHOLE.rindex(b",")], "readable", (FILE, "it ends in the middle of line 21")),
    "wrong delimiter": Wrong(WHOLE.replace(b",", b";"), "readable", (FILE, "it looks like ';', set source.delimiter")),
    "ragged": Wrong(WHOLE.replace(b"Rome", b"Rome,I", 1), "readable", (FILE, "line 3 has 6 values, the header 5")),
    "not utf-8": Wrong(
        WHOLE.replace(b"Rome", b"R\xf6m", 1), "readable", (FILE, "line 3 has b'\\xf6'", "source.encoding")
    ),
    "a column missing": of(
        lambda rows: rows.drop("amount"), "readable", "has no column 'amount'", f"On {GOOD} there was 'amount'."
    ),
    "a column renamed": of(
        lambda rows: rows.rename({"amount": "amt"}),
        "readable",
        f"did you mean 'amt'? On {GOOD} there was 'amount'; new since then: 'amt'.",
    ),
    "another type": of(
        lambda rows: rows.with_columns(amount=pl.col("amount").str.replace(".", ",", literal=True)),
        "contract",
        f"amount type 20 ('0,5', '1,5', '2,5'; none on {GOOD})",
    ),
    "a new category": of(
        lambda rows: rows.with_columns(city=pl.col("city").replace("Rome", "Oslo")),
        "contract",
        f"10 of 20 rows break the contract (50.0%, at most 10.0% may): city one_of 10 ('Oslo'; none on {GOOD})",
    ),
    "no target": of(
        lambda rows: rows.with_columns(fraud=pl.lit(None, pl.String)), "contract", "fraud nullable 20 (none on"
    ),
    "times that are none": of(
        lambda rows: rows.with_columns(at=pl.when(pl.col("id") < 5).then(pl.lit("soon")).otherwise("at")),
        "contract",
        "at type 5 ('soon'; ",
    ),
    "rows of another day": of(
        lambda rows: rows.with_columns(at=pl.col("at").str.replace("01-02", "01-03")),
        "contract",
        "at partition 20 ('2024-01-03 00:00:00.000000', ",
    ),
    "keys twice": of(lambda rows: rows.with_columns(id=pl.col("id") // 2), "contract", "id unique 10 ('0', '1', '2'; "),
    "infinite": of(lambda rows: rows.with_columns(amount=pl.lit("-inf")), "contract", "amount finite 20 ('-inf'; "),
    "years that are none": of(
        lambda rows: rows.with_columns(at=pl.Series(["0001-01-01", "9999-12-31"] * 10)),
        "contract",
        "at partition 20 ('0001-01-01 00:00:00.000000', '9999-12-31 00:00:00.000000'; ",
    ),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_day_is_refused_by_name_and_its_neighbours_are_not(project: Project, wrong: Wrong) -> None:
    file = project.folder / "data" / FILE
    before = {stage: published(project, stage) for stage in STAGES}
    if wrong.content is None:
        file.unlink(missing_ok=True)
    else:
        file.write_bytes(wrong.content)
    succeeded, outcome = run(project)
    reasons = refused(outcome, wrong.check)
    assert (succeeded, outcome.errors, list(reasons)) == (False, [], [BAD])
    assert [part for part in wrong.said if part not in reasons[BAD]] == [], reasons[BAD]
    for stage in ("validated_data", "features"):  # what was published before is still there, whole
        assert published(project, stage) == before[stage]


def test_the_command_fails_and_says_why(project: Project) -> None:
    (project.folder / "data" / FILE).write_bytes(WHOLE[: WHOLE.rindex(b",")])
    result = CliRunner().invoke(app, ["run", "shop", "--from", GOOD, "--to", BAD, "--stage", "raw_data"])
    assert result.exit_code == 1
    assert "it ends in the middle of line 21" in " ".join(result.output.split())


def test_values_that_are_all_missing_are_no_mistake_where_they_may_be(project: Project) -> None:
    (project.folder / "data" / FILE).write_bytes(written(sales(BAD).with_columns(amount=pl.lit(None, pl.String))))
    assert run(project)[0]


def test_a_hundred_thousand_columns_are_read_and_not_kept(project: Project) -> None:
    rows = sales(BAD, rows=4)
    names = [f"more {number}" for number in range(100_000)]
    lines = written(rows).decode().splitlines()
    wide = [",".join([lines[0], *names]), *(line + ",1" * len(names) for line in lines[1:])]
    (project.folder / "data" / FILE).write_text("\n".join(wide) + "\n")
    succeeded, outcome = run(project)
    assert succeeded
    assert len(outcome.stages["raw_data"].latest["columns_left_out"]) == 100


NAMES = ["the amount", "it's", "größe ✓", "select", "a.b", "a,b", "new\nline"]


def test_a_column_may_have_any_name(tmp_path: Path) -> None:
    columns = "".join(f"      {name!r}: {{{{type: string}}}}\n".replace("'it\\'s'", '"it\'s"') for name in NAMES[:-1])
    columns += '      "new\\nline": {{type: string}}\n'
    yaml = YAML.replace("    quarantine_at_most", columns + "    quarantine_at_most")
    with shop(tmp_path, yaml=yaml) as project:
        for day in DAYS:
            rows = sales(day).with_columns(pl.lit(name).alias(name) for name in NAMES)
            (tmp_path / "data" / f"{day}.csv").write_bytes(written(rows))
        succeeded, outcome = run(project, DAYS[-1])
        assert succeeded, outcome
        kept = Lake(root=f"{tmp_path}/.ml_platform/lake").table(dg.AssetKey(["shop", "features"])).scan().collect()
        assert {name: set(kept[name]) for name in NAMES} == {name: {name} for name in NAMES}


def test_a_database_that_refuses_is_told_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "WAITS", ())
    monkeypatch.setenv("SHOP_DATABASE", "postgresql://shop:hunter2@127.0.0.1:1/shop")
    with shop(tmp_path, "{type: sql, address_variable: SHOP_DATABASE, table: sales}") as project:
        succeeded, outcome = run(project)
        assert (succeeded, outcome.errors, set(refused(outcome, "readable"))) == (False, [], {GOOD, BAD})
        assert "the database of SHOP_DATABASE refused: " in refused(outcome, "readable")[BAD]
        logged = str([project.instance.all_logs(run_id) for run_id in outcome.runs])
        assert "hunter2" not in logged


LARGE = 800_000


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    with shop(tmp_path) as project:
        assert run(project)[0]
        before = {stage: published(project, stage) for stage in STAGES}
        rows = pl.DataFrame(
            {"id": np.arange(LARGE), "at": f"{BAD} 08:00:00", "amount": np.random.default_rng(0).random(LARGE)}
        )
        large = rows.with_columns(city=pl.lit("Bern"), fraud=pl.lit(0))
        (tmp_path / "data" / FILE).write_bytes(written(large))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that it is an error of the write
        resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000, hard))  # more than SQLite lets its log grow to
        try:
            succeeded, outcome = run(project)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
        assert not succeeded
        assert "File too large" in " ".join(str(one.reason) for one in outcome.checks if not one.passed)
        assert {stage: published(project, stage) for stage in STAGES} == before
        assert run(project)[0]
        assert published(project, "validated_data")[BAD] == LARGE


ODD = st.one_of(
    st.none(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(["NA", "nan", "inf", "1e400", "-0", "9" * 25, "0001-01-01", "9999-12-31", '"', "'", "\n", "🦀"]),
)
COLUMN_NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters='"\\\0*^'), min_size=1, max_size=6)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    pl.String: ODD,
    pl.Int64: st.none() | st.integers(-(2**63), 2**63 - 1),
    pl.Float64: st.none() | st.floats(),
    pl.Boolean: st.none() | st.booleans(),
    pl.Datetime("us"): st.none() | st.datetimes(),
    pl.Date: st.none() | st.dates(),
    pl.List(pl.Int64): st.none() | st.lists(st.integers(0, 9), max_size=2),
}


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    """A few rows in which any column of the contract may be missing, or of any type."""
    names = draw(st.sets(COLUMN_NAMES, max_size=2)) | draw(
        st.sampled_from([{"id", "at", "amount", "city", "fraud"}] * 5 + [{"id", "at"}])
    )
    height = draw(st.integers(0, 6))
    columns = []
    for name in sorted(names):
        kind = draw(st.sampled_from(list(VALUES)))
        values = draw(st.lists(VALUES[kind], min_size=height, max_size=height))
        columns.append(pl.Series(name, values, dtype=kind))
    return pl.DataFrame(columns)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=tables())
def test_every_row_is_validated_or_quarantined_or_nothing_is_published(lenient: Project, table: pl.DataFrame) -> None:
    table.write_parquet(lenient.folder / "data" / f"{GOOD}.parquet")
    succeeded, outcome = run(lenient, GOOD, ("raw_data", "quarantine", "validated_data"))
    assert outcome.errors == []
    if succeeded:
        kept = {stage: published(lenient, stage).get(GOOD, 0) for stage in STAGES[:3]}
        assert kept["validated_data"] + kept["quarantine"] == kept["raw_data"] == table.height > 0
    else:
        reasons = [check.reason for check in outcome.checks if not check.passed]
        assert reasons
        assert all(reasons)
        assert not {"id", "at", "amount", "city", "fraud"} <= set(table.columns) or table.is_empty()


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project that publishes a day however many of its rows are in quarantine."""
    source = FILES.replace("csv", "parquet")
    with shop(tmp_path_factory.mktemp("lenient"), source, YAML.replace("10%", "100%")) as one:
        yield one
