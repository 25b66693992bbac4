"""Data without a time column goes through the same stages, for each task."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient

from ml_platform.cli.project import Project
from ml_platform.cli.run import run_use_case
from ml_platform.resources.lake import Lake
from ml_platform.resources.tracking import Tracking
from ml_platform_tests.conftest import opened
from ml_platform_tests.projects import TABLE, write_project, write_use_case

ROWS = 600
USE_CASES = {
    "apples": {
        "task": "binary_classification",
        "target": "int64",
        "estimator": "sklearn.ensemble.RandomForestClassifier",
        "metric": "roc_auc",
        "condition": "at_least: 0.8",
        "target_of": "apple or not",
    },
    "kinds": {
        "task": "multiclass_classification",
        "target": "string",
        "estimator": "sklearn.ensemble.HistGradientBoostingClassifier",
        "metric": "f1_macro",
        "condition": "at_least: 0.8",
        "target_of": "kind",
    },
    "weights": {
        "task": "regression",
        "target": "float64",
        "estimator": "sklearn.linear_model.Ridge",
        "metric": "mean_absolute_error",
        "condition": "at_most: 12",
        "target_of": "weight",
    },
}


def fruit(target: str) -> pl.DataFrame:
    """Fruit with a target that size and colour tell, missing values and two broken rows."""
    rng = np.random.default_rng(0)
    size = rng.uniform(0, 10, ROWS)
    colour = rng.choice(["red", "green", "blue"], ROWS)
    targets = {
        "apple or not": np.where(size + (colour == "red") * 3 > 7, "1", "0"),
        "kind": np.where(size > 6, "melon", np.where(colour == "red", "cherry", "plum")),
        "weight": np.round(size**2 + (colour == "red") + 1, 3).astype(str),
    }
    rows = pl.DataFrame(
        {
            "id": np.arange(ROWS),
            "size": np.round(size, 2).astype(str),
            "colour": colour,
            "ripe": rng.choice(["true", "false"], ROWS),
            "target": targets[target],
        }
    )
    return rows.with_columns(
        pl.when(pl.col("id") % 50 == 7).then(None).otherwise("size").alias("size"),
        pl.when(pl.col("id") % 40 == 3).then(None).otherwise("colour").alias("colour"),
    ).with_columns(pl.when(pl.col("id") < 2).then(pl.lit("big")).otherwise("size").alias("size"))


@pytest.fixture
def orchard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    package = f"project_{tmp_path.name.replace('-', '_')}"
    write_project(tmp_path, package)
    for name, values in USE_CASES.items():
        write_use_case(tmp_path, package, name, TABLE.format(name=name, **values))
        fruit(values["target_of"]).write_csv(tmp_path / "data" / f"{name}.csv")
    yield from opened(tmp_path, monkeypatch)


def test_each_task_ends_with_a_champion_and_predictions(orchard: Project) -> None:
    lake = Lake(root=str(orchard.folder / ".ml_platform" / "lake"))
    for name in USE_CASES:
        succeeded, outcome = run_use_case(orchard, name, None, None, quiet=True)

        assert succeeded, outcome.errors
        assert outcome.stages["promotion"].latest["promoted"] is True
        predictions = lake.table(dg.AssetKey([name, "predictions"])).scan().collect()
        quarantine = lake.table(dg.AssetKey([name, "quarantine"])).scan().collect()
        assert (predictions.height, quarantine.height) == (ROWS - 2, 2)
        assert quarantine["violations"].to_list()[0] == [{"column": "size", "rule": "type", "value": "big"}]
    kinds = lake.table(dg.AssetKey(["kinds", "predictions"])).scan().collect()
    assert set(kinds["prediction"]) == {"melon", "cherry", "plum"}
    assert kinds["scores"].list.sum().is_close(1.0).all()


def test_a_worse_model_does_not_replace_the_champion(orchard: Project) -> None:
    assert run_use_case(orchard, "apples", None, None, quiet=True)[0]
    tracking = Tracking(
        uri=f"sqlite:///{orchard.folder}/.ml_platform/mlflow.db",
        artifacts=str(orchard.folder / ".ml_platform/artifacts"),
    )
    before = tracking.champion("apples")
    noise = fruit("apple or not").with_columns(pl.col("target").shuffle(seed=1))
    noise.write_csv(orchard.folder / "data" / "apples.csv")

    succeeded, outcome = run_use_case(orchard, "apples", None, None, quiet=True)

    assert succeeded
    assert outcome.stages["promotion"].latest["promoted"] is False
    assert "not surely at least 0.8" in outcome.stages["promotion"].latest["reason"]
    assert tracking.champion("apples") == before


def test_refit_registers_the_model_trained_on_all_known_rows_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path, "refitting")
    values = USE_CASES["weights"]
    yaml = TABLE.format(name="weights", **values).replace("model: {", "model: {refit: true, ")
    write_use_case(tmp_path, "refitting", "weights", yaml)
    fruit(values["target_of"]).write_csv(tmp_path / "data" / "weights.csv")
    project = next(opened(tmp_path, monkeypatch))

    assert run_use_case(project, "weights", None, None, quiet=True)[0]

    client = MlflowClient(f"sqlite:///{tmp_path}/.ml_platform/mlflow.db")
    version = client.get_model_version_by_alias("weights", "champion")
    assert version.tags["refit"] == "true"
    evaluated, refitted = sorted(client.search_runs(["1"]), key=lambda run: int(run.data.params["rows"]))
    assert version.run_id == refitted.info.run_id
    assert int(refitted.data.params["rows"]) == ROWS - 2
    assert int(evaluated.data.params["rows"]) < int(refitted.data.params["rows"])
    assert {run.info.status for run in (evaluated, refitted)} == {"FINISHED"}


def test_a_refused_source_stops_the_run_before_a_model_is_trained_on_what_was_there(orchard: Project) -> None:
    assert run_use_case(orchard, "apples", None, None, quiet=True)[0]
    (orchard.folder / "data" / "apples.csv").unlink()

    succeeded, outcome = run_use_case(orchard, "apples", None, None, quiet=True)

    assert not succeeded
    assert "model" not in outcome.stages
