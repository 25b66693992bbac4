"""What is published, as a notebook reads it: any partitions and versions of a table, a model, and nothing written."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

import ml_platform
from ml_platform.cli.project import Project
from ml_platform.errors import UserError


@pytest.fixture
def notebook(registered: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder below the project, as a notebook's process stands there: without what commands set."""
    folder = registered.folder / "notebooks"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("ML_PLATFORM_HOME")
    return folder


def days(rows: pl.DataFrame) -> list[str]:
    return [str(day) for day in sorted(rows["partition"].unique())]


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, typing; before = set(sys.modules); import ml_platform; print(set(sys.modules) - before)"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "{'ml_platform'}"
    assert {"load", "load_model"} <= set(dir(ml_platform))


def test_partitions_are_one_a_list_or_the_published_ones_of_a_range(notebook: Path) -> None:
    assert notebook.exists()
    assert days(ml_platform.load("payments/features", "2018-04-03")) == ["2018-04-03"]
    assert days(ml_platform.load("payments/raw_data", ["2018-04-03", "2018-04-01"])) == ["2018-04-01", "2018-04-03"]
    assert days(ml_platform.load("payments/features", ("2018-04-28", "2018-04-30"))) == ["2018-04-28", "2018-04-29"]
    assert len(days(ml_platform.load("payments/predictions"))) == 29
    assert ml_platform.load("payments/quarantine", "2018-04-03").is_empty()
    assert ml_platform.load("payments/ledger").sort("at")["version"].to_list() == [1, 2, 3]


def test_a_version_is_a_commit_or_a_moment(registered: Project, notebook: Path) -> None:
    assert notebook.exists()
    asset, day = "payments/features", "2018-04-03"
    table = registered.work("payments").lake.table(dg.AssetKey(["payments", "features"]))
    rows, commit, moment = ml_platform.load(asset, day), table.version(), datetime.now(UTC)
    changed = rows.with_columns(TX_AMOUNT=pl.lit(1.0))
    new = table.overwrite(changed, [date(2018, 4, 3)], {date(2018, 4, 3): "1"})
    assert ml_platform.load(asset, day)["TX_AMOUNT"].unique().to_list() == [1.0]
    assert ml_platform.load(asset, day, version=new).equals(ml_platform.load(asset, day))
    for version in (commit, moment):
        assert ml_platform.load(asset, day, version=version).equals(rows)


def test_a_model_is_the_champion_or_a_registered_version(notebook: Path) -> None:
    assert notebook.exists()
    champion, third, first = (ml_platform.load_model("payments", version) for version in (None, 3, 1))
    rows = ml_platform.load("payments/features", "2018-04-20")
    assert (champion.predict(rows) == third.predict(rows)).all()
    assert (champion.predict(rows) != first.predict(rows)).any()
    assert [name for name, _ in champion.pipeline.steps] == ["preprocessing", "estimator"]


def test_nothing_is_written_and_the_process_is_left_as_it_was(registered: Project, notebook: Path) -> None:
    def state() -> Any:
        files = [file for file in registered.folder.rglob("*") if "__pycache__" not in file.parts]
        return {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in files}, dict(os.environ), [*sys.path]

    ml_platform.load_model("payments")  # MLflow sets variables of its own when it is imported
    before = state()
    ml_platform.load("payments/features", "2018-04-03")
    ml_platform.load_model("payments")
    assert state() == before
    assert Path.cwd() == notebook


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("payment/features",), "there is no use case 'payment'; did you mean 'payments'?"),
        (("payments/feature",), "there is no table 'feature'; did you mean 'features'?"),
        (("payments",), "there is no table ''; there is 'features', "),
        (("payments/model",), r"payments/model is no table; see ml_platform.load_model\('payments'\)."),
        (("payments/evaluation",), "payments/evaluation is no table; see ml-platform status payments."),
        (
            ("payments/features", "2018-04-31"),
            "2018-04-31 is no partition of payments/features; they go from ",
        ),
        (("payments/features", "2018-04-30"), "payments/features has nothing of 2018-04-30; ml-platform why payments/"),
        (("payments/features", ("2018-04-30", "2018-04-30")), "payments/features has nothing of 2018-04-30"),
        (("payments/features", ("2018-04-09", "2018-04-02")), r"a range is \(first, last\); write the partitions"),
        (("payments/ledger", "2018-04-02"), "payments/ledger has no partitions; leave partitions out."),
        (("payments/features", None, 99), "payments/features: there is no commit 99; the newest is "),
        (
            ("payments/features", None, datetime.now(UTC) - timedelta(days=9)),
            "payments/features: nothing was there on .* yet; the first commit is of ",
        ),
    ],
)
def test_a_mistake_is_a_sentence(notebook: Path, arguments: tuple[Any, ...], said: str) -> None:
    assert notebook.exists()
    with pytest.raises(UserError, match=said):
        ml_platform.load(*arguments)


def test_a_version_that_is_not_there_is_a_sentence(notebook: Path) -> None:
    assert notebook.exists()
    with pytest.raises(UserError, match=r"payments has no version 9; the newest are 1, 2, 3\."):
        ml_platform.load_model("payments", 9)


def test_of_what_was_never_run_nothing_is_made(payments: Project) -> None:
    lake, database = (payments.folder / ".ml_platform" / name for name in ("lake", "mlflow.db"))
    database.unlink()  # the empty one of the fixture
    with pytest.raises(UserError, match="nothing of payments/features was published so far; ml-platform run payments"):
        ml_platform.load("payments/features")
    with pytest.raises(UserError, match="payments has no version so far; ml-platform run payments trains the first"):
        ml_platform.load_model("payments")
    assert not lake.exists()
    assert not database.exists()


def test_outside_a_project_it_says_where_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="go to the project's folder"):
        ml_platform.load("payments/features")
