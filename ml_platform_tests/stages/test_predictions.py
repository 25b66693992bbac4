"""The stage `predictions`: what the champion is not applied to."""

from datetime import date

import dagster as dg
from mlflow import MlflowClient

from ml_platform.cli.project import Project
from ml_platform.cli.run import run_use_case
from ml_platform.resources.registry import CHAMPION
from ml_platform.stages import ledger
from ml_platform_tests.tiny_project import reasons


def test_a_day_without_a_feature_that_the_champion_needs_is_red_and_the_day_before_is_not(registered: Project) -> None:
    table = registered.work("payments").lake.table(dg.AssetKey(["payments", "features"]))
    rows, day = table.scan().collect(), date(2018, 4, 28)
    table.overwrite(rows.filter(partition=day).drop("TX_AMOUNT"), [day], table.data_versions([day]))
    assert "TX_AMOUNT" in table.scan([day]).collect_schema()  # as a column of the days before

    def predicted(partition: str) -> dict[str, str]:
        succeeded, outcome = run_use_case(
            registered, "payments", partition, partition, stages=["predictions"], force=True, quiet=True
        )
        assert not outcome.errors
        said = reasons(outcome, "predictions")
        assert succeeded == (said == {})
        return said

    assert predicted("2018-04-27") == {}
    assert predicted("2018-04-28") == {
        "predicted": "the champion, version 3, needs the feature 'TX_AMOUNT', which is gone; restore it, or put a "
        "version in its place that does without: ml-platform rollback or promote."
    }


def test_a_champion_that_is_gone_is_not_called_one_that_never_was(registered: Project) -> None:
    work = registered.work("payments")
    MlflowClient(work.tracking.uri).delete_registered_model_alias("payments", CHAMPION)

    def predicted() -> str:
        _, outcome = run_use_case(
            registered, "payments", "2018-04-28", "2018-04-28", stages=["predictions"], force=True, quiet=True
        )
        return reasons(outcome, "predictions")["predicted"]

    told = "payments has no champion any more: {}; put one in its place: ml-platform promote or rollback."
    assert predicted() == told.format("MLflow has none, and the ledger says version 3")
    ledger.settled(work)
    assert predicted() == told.format("the alias was moved in MLflow")
