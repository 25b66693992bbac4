"""Monitoring on real runs: a shift is named with its day, labels that come late are judged, and why is said."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from mlflow import MlflowClient

from ml_platform.cli.outcome import Outcome
from ml_platform.cli.project import Project
from ml_platform.cli.run import DATA, PREDICTIONS
from ml_platform.components.use_case import stage_definitions
from ml_platform.errors import UserError
from ml_platform.resources.registry import Version
from ml_platform.stages.history import explain
from ml_platform.stages.reference import reference
from ml_platform_tests.tiny_project import Variant, payments, run, tiny_project, write_rows

TRAINED_AT, DAYS = 21, 30
SHIFTED, LATE = date(2024, 1, 23), date(2024, 1, 28)
WEEKS = Variant(
    changes={
        "model": {"every": "week", "train_on": "7 days", "hold_out": "3 days"},
        "monitoring": {"retraining": {"enough_labels": 300}},
    },
    rows=lambda day: shifted(day, labelled=day != LATE),
    days=DAYS,
)


def shifted(day: date, *, labelled: bool) -> pl.DataFrame:
    """The payments of a day, from some day on of greater amounts; the labels follow the same law."""
    rows = payments(day)
    moved = rows.with_columns(pl.col("amount") + (10.0 if day >= SHIFTED else 0.0))
    return moved if labelled else moved.with_columns(pl.lit(None, pl.Int64).alias("fraud"))


DAYS_AT_FIRST = (date(2024, 1, 1), date(2024, 1, 2))


@dataclass(frozen=True)
class Watched:
    """A project with a champion of the days before a shift, and the tables before and after late labels came."""

    project: Project
    before: pl.DataFrame
    after: pl.DataFrame
    first: Outcome
    second: Outcome
    idle: Outcome


def table(project: Project) -> pl.DataFrame:
    return project.work("weeks").lake.table(dg.AssetKey(["weeks", "monitoring"])).scan().collect()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    with tiny_project(folder, {"weeks": WEEKS}) as project:
        assert run(project, "weeks", *DATA, "model", "evaluation", "promotion", days=TRAINED_AT)[0]
        succeeded, first = run(project, "weeks", *DATA, *PREDICTIONS, days=DAYS)
        assert succeeded, first
        before = table(project)
        write_rows(folder, "weeks", Variant(rows=lambda day: shifted(day, labelled=True), days=DAYS))
        succeeded, second = run(project, "weeks", *DATA, *PREDICTIONS, days=DAYS)
        assert succeeded, second
        idle = run(project, "weeks", *PREDICTIONS, days=DAYS)[1]
        yield Watched(project, before, table(project), first, second, idle)


def test_a_shifted_feature_is_named_with_the_day_within_five_days_and_none_before_it(watched: Watched) -> None:
    departed = watched.before.filter(verdict="departed").filter(pl.col("kind") != "performance")
    amount = departed.filter(column="amount", metric="mean")
    assert amount["partition"].min() == amount["since"].min()
    assert SHIFTED <= amount["partition"].min() <= date(2024, 1, 27)  # type: ignore[operator]
    assert amount["since"].n_unique() == 1
    assert departed["partition"].min() == amount["partition"].min()
    reasons = {one.partition: str(one.reason) for one in watched.first.checks if one.name == "no_drift" and one.reason}
    assert "amount (mean) is" in reasons["2024-01-30"]
    assert f"since {amount['since'][0]}" in reasons["2024-01-30"]


def test_what_looks_back_at_days_before_the_first_is_not_judged(watched: Watched) -> None:
    numbers = watched.before.filter(pl.col("kind") != "volume")
    first, second = (numbers.filter(partition=day)["verdict"].unique().to_list() for day in DAYS_AT_FIRST)
    assert first == ["not_judged"]
    assert "usual" in second


def test_the_numbers_of_each_partition_are_in_the_metadata_with_the_decision_on_retraining(watched: Watched) -> None:
    latest = watched.first.stages["monitoring"].latest
    assert (latest["partition"], latest["drifting_features"], latest["model_version"]) == ("2024-01-30", 1, 1)
    assert latest["prediction_drift"] > 0.1
    assert "roc_auc" not in latest  # its labels are known a day later
    decision = latest["retraining"]
    assert (decision["wanted"], decision["tries"], decision["cutoff"]) == (True, 0, "2024-01-29")
    # of the seven days that the model of this Monday would be trained on, 17 to 23 January, the last one is shifted
    assert decision["why"].endswith(
        "since 2024-01-23, and a model of 2024-01-29 would be trained on 300 labelled rows since then."
    )


def test_no_model_is_asked_for_before_the_first_cutoff(tmp_path: Path) -> None:
    with tiny_project(tmp_path, {"tiny": Variant()}) as project:
        assert run(project, "tiny", *DATA, "model", "evaluation", "promotion")[0]
        succeeded, outcome = run(project, "tiny", *PREDICTIONS, days=2)
        assert succeeded, outcome
        decision = outcome.stages["monitoring"].latest["retraining"]
        assert (decision["wanted"], decision["why"]) == (False, "Retraining is not wanted: no cutoff is reached yet.")


def test_the_champion_is_held_to_rows_that_it_was_not_trained_on(watched: Watched) -> None:
    scored = watched.before.filter(pl.col("kind").is_in(["prediction", "performance"]))["partition"].unique()
    trained = set(pl.date_range(date(2024, 1, 10), date(2024, 1, 16), eager=True))
    assert set(scored) == set(watched.before["partition"]) - trained


def test_performance_waits_for_the_labels_and_is_judged_when_they_have_come(watched: Watched) -> None:
    performance = pl.col("kind") == "performance"
    assert watched.before.filter(performance, partition=LATE).is_empty()
    (late,) = watched.after.filter(performance, partition=LATE).to_dicts()
    assert (late["verdict"], late["labelled"]) == ("usual", 1.0)
    assert watched.after.filter(performance, partition=date(2024, 1, 30))["verdict"].to_list() == ["immature"]
    unchanged = watched.second.stages["monitoring"].unchanged
    assert 0 < unchanged < DAYS
    assert watched.idle.stages["monitoring"].unchanged == DAYS


def test_why_says_what_was_decided_on_retraining(watched: Watched) -> None:
    work = watched.project.work("weeks")
    (definition,) = (one for one in stage_definitions(work.use_case)["predictions"] if one.name == "monitoring")
    sentences = explain(work, definition, "2024-01-30")
    assert any(one.startswith("Retraining is wanted: amount (mean)") for one in sentences), sentences
    assert sentences[-1] == "It is up to date: a run would skip it."


def test_a_version_that_was_put_there_by_hand_cannot_be_held_to_anything(watched: Watched) -> None:
    work = watched.project.work("weeks")
    run_of_nothing = MlflowClient(work.tracking.uri).create_run("0").info.run_id
    with pytest.raises(UserError, match="version 9 was put into MLflow by hand, and nothing says what it was trained"):
        reference(work, Version("weeks", 9, run_of_nothing, "2024-01-22", "models:/none"))
