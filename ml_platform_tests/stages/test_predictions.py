"""The stage `predictions`: what the champion is not applied to."""

from dataclasses import replace
from datetime import date

import dagster as dg
import pytest
from deltalake import DeltaTable
from mlflow import MlflowClient

from ml_platform.cli.outcome import Outcome
from ml_platform.cli.project import Project
from ml_platform.cli.run import run_use_case
from ml_platform.resources.registry import CHAMPION
from ml_platform.stages import ledger, predictions
from ml_platform.versions.moves import promote
from ml_platform_tests.stages.test_ledger import alias, cut_off
from ml_platform_tests.tiny_project import reasons


def predicted(
    project: Project, *, first: str = "2018-04-28", last: str = "2018-04-28", force: bool = False
) -> tuple[bool, Outcome]:
    """What became of the predictions of some days, by default of one."""
    return run_use_case(project, "payments", first, last, stages=["predictions"], force=force, quiet=True)


def test_of_days_one_without_a_feature_that_the_champion_needs_is_red_and_the_others_are_not(
    registered: Project,
) -> None:
    table = registered.work("payments").lake.table(dg.AssetKey(["payments", "features"]))
    rows, day = table.scan().collect(), date(2018, 4, 28)
    table.overwrite(rows.filter(partition=day).drop("TX_AMOUNT"), [day], table.data_versions([day]))
    assert "TX_AMOUNT" in table.scan([day]).collect_schema()  # as a column of the days before

    succeeded, outcome = predicted(registered, first="2018-04-27", last="2018-04-29", force=True)

    assert not succeeded
    assert not outcome.errors
    (red,) = [check for check in outcome.checks if not check.passed]
    assert (red.name, red.partition) == ("predicted", "2018-04-28")
    assert red.reason == (
        "the champion, version 3, needs the feature 'TX_AMOUNT', which the features lack; make them with it, or put a "
        "version in its place that does without: ml-platform rollback or promote."
    )
    published = outcome.of("predictions")
    assert (published.partitions, published.unchanged) == (2, 0)


def test_a_champion_that_is_gone_is_not_called_one_that_never_was(registered: Project) -> None:
    work = registered.work("payments")
    MlflowClient(work.tracking.uri).delete_registered_model_alias("payments", CHAMPION)

    _, outcome = predicted(registered, force=True)
    assert reasons(outcome, "predictions")["predicted"] == (
        "payments has no champion any more: the alias was moved in MLflow; put one in its place: ml-platform promote "
        "or rollback, or train again."
    )


def test_predictions_are_those_of_the_ledgers_champion_though_its_move_was_cut_off(
    registered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = registered.work("payments")
    with cut_off(monkeypatch, "crown"):
        promote(work, 2, "in a hurry")
    assert alias(work) == 3
    succeeded, _ = predicted(registered)
    assert succeeded
    assert alias(work) == 2
    rows = work.rows("predictions", ["2018-04-28"]).select("model_version").unique().collect()
    assert rows["model_version"].to_list() == [2]


def test_predictions_by_a_champion_that_ledger_and_mlflow_do_not_agree_on_are_red(registered: Project) -> None:
    work = registered.work("payments")
    DeltaTable(work.lake.address(ledger.ledger_key("payments"))).restore(1)
    succeeded, outcome = predicted(registered, force=True)
    assert not succeeded
    assert reasons(outcome, "predictions")["predicted"].startswith("the ledger of payments lacks the move that ")


def test_predictions_by_a_version_of_the_same_number_in_another_registry_are_made_again(
    registered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unchanged() -> int:
        succeeded, outcome = predicted(registered)
        assert succeeded
        return outcome.of("predictions").unchanged

    assert unchanged() == 1
    champion = registered.work("payments").version(3)
    monkeypatch.setattr(predictions, "_champion", lambda _: (replace(champion, run_id="another"), None))
    assert unchanged() == 0
