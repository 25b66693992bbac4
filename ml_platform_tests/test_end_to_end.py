"""The whole chain on small data with the real engine: from files to champion and predictions, with dirty days."""

from collections.abc import Iterator
from datetime import date

import dagster as dg
import polars as pl
import pytest
from mlflow import MlflowClient

from ml_platform.cli.outcome import Outcome
from ml_platform.cli.project import Project
from ml_platform.cli.run import run_use_case
from ml_platform.resources.lake import Lake
from ml_platform.use_case import Stage
from ml_platform_tests.conftest import opened
from ml_platform_tests.projects import write_payments_project


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Outcome]]:
    """A project after its first run, which is not to be changed, and what came of it."""
    folder = tmp_path_factory.mktemp("ran")
    write_payments_project(folder, "ran_project")
    with pytest.MonkeyPatch.context() as patch:
        for project in opened(folder, patch):
            succeeded, outcome = run_use_case(project, "payments", None, "2018-04-20", quiet=True)
            assert succeeded, (outcome.errors, [check for check in outcome.checks if not check.passed])
            yield project, outcome


def table(project: Project, stage: str) -> pl.DataFrame:
    lake = Lake(root=str(project.folder / ".ml_platform" / "lake"))
    return lake.table(dg.AssetKey(["payments", stage])).scan().collect()


def published(project: Project, stage: str) -> set[str]:
    return set(project.instance.get_materialized_partitions(dg.AssetKey(["payments", stage])))


def test_a_run_ends_with_a_champion_and_a_prediction_for_each_row(ran: tuple[Project, Outcome]) -> None:
    project, outcome = ran
    raw, validated = table(project, "raw_data"), table(project, "validated_data")
    predictions = table(project, "predictions")
    assert raw.height == validated.height + table(project, "quarantine").height
    assert (
        predictions.select("TRANSACTION_ID")
        .sort("TRANSACTION_ID")
        .equals(validated.select("TRANSACTION_ID").sort("TRANSACTION_ID"))
    )
    assert predictions["prediction_id"].is_unique().all()
    assert predictions["model_version"].unique().to_list() == [1]
    assert predictions["prediction"].is_between(0, 1).all()
    assert outcome.stages["promotion"].latest["promoted"] is True
    assert [(check.name, check.passed) for check in outcome.checks if check.stage == "promotion"] == [
        ("evaluated", True),
        ("roc_auc_at_least", True),
        ("roc_auc_no_worse_than_champion", True),
        ("champion_in_ledger", True),
    ]


def test_everything_is_stored_in_one_folder_of_the_project(ran: tuple[Project, Outcome]) -> None:
    project, _ = ran
    written = {"data", "ran_project", "pyproject.toml"}
    assert {path.name for path in project.folder.iterdir()} == {*written, ".ml_platform"}


def test_refit_registers_the_model_trained_on_all_known_rows_and_says_so(
    payments: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (definition,) = payments.folder.glob("project_*/defs/payments/defs.yaml")
    definition.write_text(definition.read_text().replace("  model:\n", "  model:\n    refit: true\n"))
    project = next(opened(payments.folder, monkeypatch))

    assert run_use_case(project, "payments", None, "2018-04-20", quiet=True)[0]

    client = MlflowClient(f"sqlite:///{project.folder}/.ml_platform/mlflow.db")
    version = client.get_model_version_by_alias("payments", "champion")
    evaluated, refitted = sorted(client.search_runs(["1"]), key=lambda run: int(run.data.params["rows"]))
    assert version.run_id == refitted.info.run_id
    assert version.tags["evaluated_run"] == evaluated.info.run_id
    assert refitted.data.tags["mlflow.parentRunId"] == evaluated.info.run_id
    assert "mlflow.parentRunId" not in evaluated.data.tags
    assert {run.info.status for run in (evaluated, refitted)} == {"FINISHED"}
    # labels are known after two days: of the cutoff 2018-04-16 those of the 13th are, and six days are looked at
    assert (version.tags["trained_from"], version.tags["trained_until"]) == (
        "2018-04-06T00:00:00",
        "2018-04-14T00:00:00",
    )
    day = pl.col("TX_DATETIME").dt.date()
    known = table(project, "features").filter(day.is_between(date(2018, 4, 6), date(2018, 4, 13)))
    trained = known.filter(day <= date(2018, 4, 8))
    rows = [int(run.data.params["rows"]) for run in (evaluated, refitted)]
    assert rows == [trained.height, known.height]
    assert table(project, "predictions")["model_version"].unique().to_list() == [int(version.version)]


def test_bad_days_are_refused_alone_and_the_others_published(payments: Project) -> None:
    data = payments.folder / "data"
    (data / "2018-04-05.parquet").write_bytes(b"no parquet")
    dirty = pl.read_parquet(data / "2018-04-12.parquet")
    dirty.with_columns(
        pl.when(pl.int_range(pl.len()) % 3 == 0).then(-1.0).otherwise("TX_AMOUNT").alias("TX_AMOUNT")
    ).write_parquet(data / "2018-04-12.parquet")
    pl.read_parquet(data / "2018-04-18.parquet").with_columns(pl.col("CUSTOMER_ID").cast(pl.String)).write_parquet(
        data / "2018-04-18.parquet"
    )

    succeeded, outcome = run_use_case(payments, "payments", None, "2018-04-20", quiet=True)

    days = {f"2018-04-{day:02}" for day in range(1, 21)}
    assert not succeeded
    assert published(payments, "raw_data") == days - {"2018-04-05"}
    assert published(payments, "validated_data") == days - {"2018-04-05", "2018-04-12"}
    # a day's features look two days back
    without = {f"2018-04-{day:02}" for day in (5, 6, 7, 12, 13, 14)}
    assert published(payments, "features") == days - without
    reasons = {(check.stage, check.partition): check.reason for check in outcome.checks if not check.passed}
    assert "2018-04-05.parquet cannot be read as parquet" in str(reasons["raw_data", "2018-04-05"])
    assert "TX_AMOUNT min" in str(reasons["validated_data", "2018-04-12"])
    assert "validated_data has no rows for 2018-04-12" in str(reasons["features", "2018-04-14"])
    assert set(table(payments, "features")["partition"].unique()) == {date.fromisoformat(day) for day in days - without}
    assert table(payments, "quarantine").filter(pl.col("partition") == date(2018, 4, 12)).height > 0


def test_a_good_day_that_turns_bad_keeps_what_it_had(payments: Project) -> None:
    days = ("2018-04-01", "2018-04-03")
    run_use_case(payments, "payments", *days, quiet=True)
    before = table(payments, "features").sort("TRANSACTION_ID")
    bad = pl.read_parquet(payments.folder / "data" / "2018-04-02.parquet").with_columns(TX_AMOUNT=pl.lit(-1.0))
    bad.write_parquet(payments.folder / "data" / "2018-04-02.parquet")

    assert not run_use_case(payments, "payments", *days, quiet=True)[0]
    assert not run_use_case(payments, "payments", *days, stages=["validated_data"], quiet=True)[0]
    assert run_use_case(payments, "payments", *days, stages=["features"], quiet=True)[0]

    assert table(payments, "features").sort("TRANSACTION_ID").equals(before)


def test_backtest_trains_at_each_cutoff_and_an_older_one_never_replaces_a_newer(registered: Project) -> None:
    assert published(registered, "promotion") == {"2018-04-16", "2018-04-23", "2018-04-30"}

    _, again = run_use_case(registered, "payments", None, "2018-04-15", stages=["promotion"], force=True, quiet=True)

    decision = again.stages["promotion"].latest
    assert decision["promoted"] is False
    assert "is of the newer cutoff 2018-04-30" in decision["reason"]
    decisions = table(registered, "promotion").sort("partition")
    assert decisions["partition"].to_list() == [date(2018, 4, 16), date(2018, 4, 23), date(2018, 4, 30)]


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("validated_data", "there is no raw data; materialize raw_data first."),
        ("features", "validated_data has no rows for 2018-04-01 .. 2018-04-02 (2), which the features need"),
        ("predictions", "payments has no champion: no model has passed its gates yet; look at promotion."),
        ("monitoring", "there are no predictions; materialize predictions first."),
    ],
)
def test_a_stage_without_its_input_says_so(payments: Project, stage: Stage, said: str) -> None:
    succeeded, outcome = run_use_case(payments, "payments", "2018-04-02", "2018-04-02", stages=[stage], quiet=True)
    assert not succeeded
    assert [str(check.reason).partition("; materialize it")[0] for check in outcome.checks] == [said], outcome.errors
    assert published(payments, stage) == set()


def test_predictions_wait_for_a_champion(payments: Project) -> None:
    succeeded, outcome = run_use_case(payments, "payments", None, "2018-04-02", quiet=True)
    assert not succeeded, outcome
    assert {check.reason for check in outcome.checks if check.stage == "predictions"} == {
        "payments has no champion: no model has passed its gates yet; look at promotion."
    }
