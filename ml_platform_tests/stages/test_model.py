"""The stage `model` in the graph: what keeps a model from being trained or published, and its runs in MLflow."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient

from ml_platform.cli.project import Project
from ml_platform.cli.run import run_use_case
from ml_platform.ml.thresholds import last_part, threshold_of
from ml_platform.resources.scoring_process import ScoringProcess
from ml_platform.resources.tracking import DAGSTER_RUN_TAG, REFUSED_TAG
from ml_platform.stages.acceptance import Acceptance, accept
from ml_platform.stages.training_rows import labelled_rows
from ml_platform.use_case.words import DATA
from ml_platform_tests.tiny_project import (
    CUTOFF,
    FIRST,
    Variant,
    payments,
    reasons,
    run,
    tiny_project,
    verdicts,
    write_rows,
)

ALL = """
import polars as pl


def build(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("id", "at", "fraud", "amount", "other")
"""

CLEAN = """
from datetime import timedelta

import polars as pl

from ml_platform.ml.windows import Aggregate, trailing_windows


def build(rows: pl.DataFrame) -> pl.DataFrame:
    day = {"1D": timedelta(days=1)}
    counts = trailing_windows(
        rows, entity="terminal", time="at", windows=day, aggregates=[Aggregate("count_{window}", "count")]
    )
    risk = trailing_windows(
        rows,
        entity="terminal",
        time="at",
        windows=day,
        aggregates=[Aggregate("risk_{window}", "mean", "fraud")],
        delay=timedelta(days=1),
    )
    return rows.select("id", "at", "fraud", "amount").hstack(counts).hstack(risk)
"""

FEATURE = """
import os
import time

import polars as pl


def build(rows: pl.DataFrame) -> pl.DataFrame:
    found = rows.sort("at", "id").with_columns(({feature}).alias("suspect"))
    return found.select("id", "at", "fraud", "amount", "suspect")
"""
SUSPECTS = {
    "ahead": 'pl.col("amount").shift(-1).over("terminal")',
    "past": 'pl.col("amount").shift(1).over("terminal")',
    "unripe": '(pl.col("fraud").cum_sum() - pl.col("fraud")).over("terminal", pl.col("at").dt.date())',
    "clock": 'pl.col("amount") + time.time() % 10_000',
    "process": 'pl.col("amount") + os.getpid()',
    "batch": 'pl.col("amount") / pl.col("amount").mean()',
}
AT_ONCE = ("ahead", "past")


def whole(name: str) -> dict[str, Any]:
    """What makes one table without partitions of the files of all days."""
    source = {"type": "files", "path": f"data/{name}_whole-*.parquet", "format": "parquet"}
    return {"partitions": "none", "source": source, "features": {"transform": ".features:build"}}


RULED = {
    "model": {
        "threshold": {"recall_at_least": 0.8},
        "search": {"space": {"C": [0.001, 0.1, 1.0], "fit_intercept": [True, False]}, "trials": 3, "folds": 2},
    },
    "gates": [{"metric": "roc_auc", "at_least": 0.5}],
}
TO_MARCH = {"every": "day", "start": f"{FIRST}", "end": "2024-03-01"}

VARIANTS = {
    "noted": Variant(features=ALL),
    "clean": Variant({"features": {"lookback": "2 days"}}, CLEAN),
    **{name: Variant(features=FEATURE.format(feature=one)) for name, one in SUSPECTS.items()},
    **{f"{name}_whole": Variant(whole(name), features=FEATURE.format(feature=SUSPECTS[name])) for name in AT_ONCE},
    "ruled": Variant(RULED),
    "refusing": Variant({"model": {"params": {"C": -1.0}}}),
    "killed": Variant(),
    "together": Variant({"partitions": TO_MARCH}, days=9),
    "backtest": Variant({"partitions": TO_MARCH}, days=36),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with tiny_project(tmp_path_factory.mktemp("models"), VARIANTS) as opened:
        yield opened


def client(project: Project) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project.folder}/.ml_platform/mlflow.db")


def mlflow_runs(project: Project, name: str, *, trials: bool = False) -> list[Any]:
    """The runs of a use case, the oldest first."""
    found = client(project).get_experiment_by_name(name)
    runs = client(project).search_runs([found.experiment_id], order_by=["attributes.start_time"]) if found else []
    return [one for one in runs if ("mlflow.parentRunId" in one.data.tags) is trials]


# -- leakage -------------------------------------------------------------------------------------------------------


def scenarios(day: date) -> pl.DataFrame:
    """Rows in which `other` is the kind of fraud, 0 where there is none."""
    rows = payments(day)
    return rows.with_columns(other=(pl.col("fraud") * (1 + pl.col("id") % 3)).cast(pl.Float64))


def test_a_feature_that_gives_the_label_away_is_not_trained_on_until_it_is_accepted(project: Project) -> None:
    assert run(project, "noted")[0]
    succeeded, outcome = run(project, "noted", "model")
    assert succeeded, reasons(outcome, "model")
    assert verdicts(outcome, "model") == {"trainable": True, "leakage": True, "parity": True}
    work = project.work("noted")
    old = work.tracking.model_of("noted", CUTOFF)
    write_rows(project.folder, "noted", replace(VARIANTS["noted"], rows=scenarios))
    assert run(project, "noted")[0]

    succeeded, outcome = run(project, "noted", "model")

    assert not succeeded
    assert not outcome.errors
    assert reasons(outcome, "model") == {
        "leakage": "other has 4 values, and each goes with one fraud only: leave the feature out with "
        "features.columns, mend the transform, or, if it really is known before the label, name it in "
        "model.leakage.allowed."
    }
    assert len(mlflow_runs(project, "noted")) == 1
    assert work.tracking.model_of("noted", CUTOFF) == old

    now = datetime.now(UTC)
    why = Acceptance("model", CUTOFF, "a drill", now.date(), "ann", now.replace(tzinfo=None))
    accept(work.lake, "noted", why)
    succeeded, outcome = run(project, "noted", "model")

    assert succeeded, reasons(outcome, "model")
    assert outcome.stages["model"].latest["accepted"] == f"accepted by ann until {now.date()}: a drill"
    # what is accepted is still said
    assert "other has 4 values" in reasons(outcome, "model")["leakage"]
    assert len(mlflow_runs(project, "noted")) == 2
    assert work.tracking.model_of("noted", CUTOFF) != old


# -- parity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ahead", "once later rows are left out"),
        ("unripe", "labels that are not known yet when a row is scored"),
        ("clock", "it must give the same for a row whenever it is called, from its lookback of 1 day"),
        ("process", "gives 'suspect' differently in a fresh process"),
        ("batch", "suspect"),
    ],
)
def test_a_feature_that_is_another_when_it_is_made_again_keeps_the_model_from_being_published(
    project: Project, name: str, said: str
) -> None:
    assert run(project, name)[0]
    succeeded, outcome = run(project, name, "model")

    assert not succeeded
    assert not outcome.errors
    assert list(reasons(outcome, "model")) == ["parity"]
    reason = reasons(outcome, "model")["parity"]
    assert "suspect" in reason
    assert said in reason
    assert reason.endswith(".")
    with pytest.raises(LookupError, match="has no model of cutoff"):
        project.work(name).tracking.model_of(name, CUTOFF)
    (refused,) = mlflow_runs(project, name)
    assert (refused.info.status, refused.data.tags[REFUSED_TAG]) == ("FAILED", reason)


def test_without_partitions_a_feature_must_not_look_ahead_either(project: Project) -> None:
    said = {}
    for name in AT_ONCE:
        succeeded, outcome = run_use_case(project, f"{name}_whole", None, None, stages=[*DATA, "model"], quiet=True)
        assert not outcome.errors
        assert succeeded == (name == "past")
        said[name] = reasons(outcome, "model").get("parity", "")
    assert "suspect" in said["ahead"]
    assert "once later rows are left out" in said["ahead"]
    assert said["past"] == ""


def test_windows_that_look_back_and_wait_for_labels_pass(project: Project) -> None:
    assert run(project, "clean")[0]
    succeeded, outcome = run(project, "clean", "model")
    assert succeeded, reasons(outcome, "model")
    assert verdicts(outcome, "model") == {"trainable": True, "leakage": True, "parity": True}


# -- threshold -----------------------------------------------------------------------------------------------------


@contextmanager
def without(project: Project, name: str, stage: str, days: set[int]) -> Iterator[None]:
    """The files of these days of a table are not there."""
    folder = Path(project.work(name).lake.address(dg.AssetKey([name, stage])))
    files = [file for day in days for file in folder.glob(f"partition={FIRST + timedelta(days=day - 1)}/*")]
    assert len(files) >= len(days)
    away = {file: file.with_name(f"{file.name}.away") for file in files}
    for file, there in away.items():
        file.rename(there)
    try:
        yield
    finally:
        for file, there in away.items():
            there.rename(file)


@pytest.fixture(scope="module")
def ruled(project: Project) -> Project:
    """The project with a champion of the use case whose threshold follows a rule."""
    for stages in ((), ("model", "evaluation", "promotion"), ("predictions",)):
        succeeded, outcome = run(project, "ruled", *stages)
        assert succeeded, (outcome.errors, [one for one in outcome.checks if not one.passed])
    return project


def test_a_threshold_by_rule_is_chosen_inside_the_training_window_and_stored_with_the_model(ruled: Project) -> None:
    work = ruled.work("ruled")
    stored = work.tracking.model_of("ruled", CUTOFF)
    model = work.tracking.load_model(stored.address)
    train = labelled_rows(work, CUTOFF, "train")

    assert train["at"].dt.date().unique().sort().to_list() == [FIRST + timedelta(days=day) for day in range(3)]
    assert last_part(work.use_case, train)[1]["at"].dt.date().unique().to_list() == [FIRST + timedelta(days=2)]
    assert model.threshold == threshold_of(work.use_case, train, work.use_case.model.estimator, model.params)
    assert model.threshold not in (None, 0.5)
    assert float(work.tracking.run_of(stored.run_id).params["threshold"]) == model.threshold


def test_metrics_and_decisions_are_those_of_the_models_threshold(ruled: Project) -> None:
    work = ruled.work("ruled")
    threshold = work.tracking.load_model(work.tracking.model_of("ruled", CUTOFF).address).threshold
    assert threshold is not None
    report = work.reports.reports(dg.AssetKey(["ruled", "evaluation"]), [CUTOFF])[CUTOFF]
    fraud = report.scores["label"] == 1
    found = (report.scores["model"] >= threshold) & fraud
    assert report.threshold == threshold
    assert report.metrics["recall"].point == pytest.approx(found.sum() / fraud.sum())

    predictions = work.lake.table(dg.AssetKey(["ruled", "predictions"])).scan().collect()
    assert predictions.height > 0
    assert (predictions["decision"] == (predictions["prediction"] >= threshold)).all()
    assert predictions["decision"].n_unique() == 2


def test_nothing_of_the_training_reads_the_hold_out_or_more_raw_rows_than_one_partition_needs(ruled: Project) -> None:
    work = ruled.work("ruled")
    before = work.tracking.load_model(work.tracking.model_of("ruled", CUTOFF).address)
    tried = len(mlflow_runs(ruled, "ruled", trials=True))
    for file in (ruled.folder / ".ml_platform").rglob("ruled.journal"):
        file.unlink()  # so that the search looks again

    # trained on the days 1 to 3, judged on 5 and 6; features of day 3 are made of the days 2 and 3
    with without(ruled, "ruled", "features", {4, 5, 6, 7}), without(ruled, "ruled", "validated_data", {1, 4, 5, 6, 7}):
        succeeded, outcome = run(ruled, "ruled", "model", force=True)
        assert succeeded, (outcome.errors, reasons(outcome, "model"))
        _, judged = run(ruled, "ruled", "evaluation", force=True)
        assert len(judged.errors) == 1
        assert "No such file" in judged.errors[0]

    after = work.tracking.load_model(work.tracking.model_of("ruled", CUTOFF).address)
    assert after.run_id != before.run_id
    assert (after.threshold, after.params) == (before.threshold, before.params)
    train = labelled_rows(work, CUTOFF, "train")
    assert np.array_equal(after.predict(train), before.predict(train))
    assert len(mlflow_runs(ruled, "ruled", trials=True)) == 2 * tried == 6


# -- runs ----------------------------------------------------------------------------------------------------------


def test_an_estimator_that_refuses_its_parameters_leaves_no_run(project: Project) -> None:
    assert run(project, "refusing")[0]
    succeeded, outcome = run(project, "refusing", "model")

    assert not succeeded
    assert not outcome.errors
    assert list(reasons(outcome, "model")) == ["trainable"]
    assert "The 'C' parameter of LogisticRegression must be" in reasons(outcome, "model")["trainable"]
    assert mlflow_runs(project, "refusing") == []


KILLED = """
import os, signal, sys
from ml_platform.resources.tracking import Tracking

Tracking.store_model = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from ml_platform.cli import app
app(sys.argv[1:])
"""


def test_a_run_that_was_killed_while_it_logged_is_ended_by_the_next_one(project: Project) -> None:
    assert run(project, "killed")[0]
    last = f"{FIRST + timedelta(days=6)}"
    command = [sys.executable, "-W", "ignore", "-c", KILLED, "run", "killed", "--to", last, "--stage", "model"]
    ended = subprocess.run(command, cwd=project.folder, env=os.environ, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    (left,) = mlflow_runs(project, "killed")
    assert left.info.status == "RUNNING"

    succeeded, outcome = run(project, "killed", "model")

    assert succeeded, reasons(outcome, "model")
    assert [one.info.status for one in mlflow_runs(project, "killed")] == ["KILLED", "FINISHED"]
    assert project.work("killed").tracking.model_of("killed", CUTOFF).run_id != left.info.run_id


def test_one_fresh_process_scores_all_models_of_a_run_and_ends_with_them(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, begin = set(), ScoringProcess.begin

    def noted(process: ScoringProcess) -> "subprocess.Popen[bytes]":
        begun.add(started := begin(process))
        return started

    monkeypatch.setattr(ScoringProcess, "begin", noted)
    assert run(project, "together", days=9)[0]
    succeeded, outcome = run(project, "together", "model", days=9, backtest=True)
    assert succeeded, reasons(outcome, "model")
    assert len(mlflow_runs(project, "together")) == 3
    (process,) = begun
    assert process.returncode is not None


def test_each_cutoff_of_a_backtest_has_one_run_and_it_and_the_run_of_dagster_name_each_other(project: Project) -> None:
    assert run(project, "backtest", days=36)[0]
    succeeded, outcome = run(project, "backtest", "model", days=36, backtest=True)
    assert succeeded, reasons(outcome, "model")

    runs = {one.data.tags["cutoff"]: one for one in mlflow_runs(project, "backtest")}
    assert sorted(runs) == [f"{date(2024, 1, 8) + timedelta(days=number)}" for number in range(30)]
    assert len(mlflow_runs(project, "backtest")) == 30
    for cutoff, one in runs.items():
        assert one.info.status == "FINISHED"
        assert one.data.tags[DAGSTER_RUN_TAG] == outcome.runs[0]
        key = dg.AssetKey(["backtest", "model"])
        (record,) = project.instance.fetch_materializations(
            dg.AssetRecordsFilter(key, asset_partitions=[cutoff]), limit=2
        ).records
        assert record.asset_materialization is not None
        assert record.run_id == outcome.runs[0]
        assert record.asset_materialization.metadata["mlflow_run"].value == one.info.run_id
