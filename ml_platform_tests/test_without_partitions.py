"""Data without a time column goes through the same stages, for each task."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from ml_platform.cli.outcome import Outcome
from ml_platform.cli.project import Project, open_project
from ml_platform.cli.run import run_use_case
from ml_platform.io_managers.reports import ReportIOManager
from ml_platform.resources.lake import Lake
from ml_platform.stages.evaluation import champion_importance
from ml_platform.use_case import Stage
from ml_platform.use_case.words import DATA
from ml_platform_tests.conftest import copied, opened
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
    noise = np.random.default_rng(1).normal(scale=5, size=ROWS)  # without it size would give the weight away
    targets = {
        "apple or not": np.where(size + (colour == "red") * 3 > 7, "1", "0"),
        "kind": np.where(size > 6, "melon", np.where(colour == "red", "cherry", "plum")),
        "weight": np.round(size**2 + (colour == "red") + noise, 3).astype(str),
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
    write_orchard(tmp_path, f"project_{tmp_path.name.replace('-', '_')}")
    yield from opened(tmp_path, monkeypatch)


def write_orchard(folder: Path, package: str) -> None:
    write_project(folder, package)
    for name, values in USE_CASES.items():
        write_use_case(folder, package, name, TABLE.format(name=name, **values))
        fruit(values["target_of"]).write_csv(folder / "data" / f"{name}.csv")


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Outcome]]:
    """The folder of a project of which everything was run, which is not to be changed, and what came of it."""
    folder = tmp_path_factory.mktemp("grown")
    write_orchard(folder, "grown_project")
    with pytest.MonkeyPatch.context() as patch:
        for project in opened(folder, patch):
            outcomes = {name: run_use_case(project, name, None, None, quiet=True) for name in USE_CASES}
    assert all(succeeded for succeeded, _ in outcomes.values()), outcomes
    return folder, {name: outcome for name, (_, outcome) in outcomes.items()}


@pytest.fixture
def harvested(
    grown: tuple[Path, dict[str, Outcome]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    yield from copied(grown[0], tmp_path / "project", monkeypatch)


def test_each_task_ends_with_a_champion_and_predictions(grown: tuple[Path, dict[str, Outcome]]) -> None:
    folder, outcomes = grown
    lake = Lake(root=str(folder / ".ml_platform" / "lake"))
    for name, outcome in outcomes.items():
        assert outcome.stages["promotion"].latest["promoted"] is True
        predictions = lake.table(dg.AssetKey([name, "predictions"])).scan().collect()
        quarantine = lake.table(dg.AssetKey([name, "quarantine"])).scan().collect()
        assert (predictions.height, quarantine.height) == (ROWS - 2, 2)
        monitoring = lake.table(dg.AssetKey([name, "monitoring"])).scan().collect()
        assert set(monitoring.filter(kind="data")["column"]) == {"size", "colour", "ripe"}
        assert "departed" not in set(monitoring["verdict"])
        assert quarantine["violations"].to_list()[0] == [{"column": "size", "rule": "type", "value": "big"}]
    kinds = lake.table(dg.AssetKey(["kinds", "predictions"])).scan().collect()
    assert set(kinds["prediction"]) == {"melon", "cherry", "plum"}
    assert kinds["scores"].list.sum().is_close(1.0).all()
    key = dg.AssetKey(["kinds", "evaluation"])
    assert set(ReportIOManager(lake=lake).reports(key, [None])[None].figures) == {
        *("calibration_curve", "confusion_matrix", "importance")
    }


def test_a_worse_model_does_not_replace_the_champion(harvested: Project) -> None:
    work, key = harvested.work("apples"), dg.AssetKey(["apples", "evaluation"])
    before = work.tracking.champion("apples")
    importance = work.reports.reports(key, [None])[None].importance
    noise = fruit("apple or not").with_columns(pl.col("target").shuffle(seed=1))
    noise.write_csv(harvested.folder / "data" / "apples.csv")

    succeeded, outcome = run_use_case(harvested, "apples", None, None, quiet=True)

    assert succeeded
    assert outcome.stages["promotion"].latest["promoted"] is False
    assert ", below 0.8." in outcome.stages["promotion"].latest["reason"]
    assert work.tracking.champion("apples") == before
    assert work.reports.reports(key, [None])[None].importance != importance
    assert champion_importance(work, "another model") == importance


def test_a_feature_that_is_gone_is_a_sentence_where_a_model_needs_it(harvested: Project) -> None:
    (file,) = harvested.folder.glob("*/defs/apples/defs.yaml")
    file.write_text(file.read_text().replace("      ripe: {type: boolean}\n", ""))
    project = open_project()
    assert run_use_case(project, "apples", None, None, stages=DATA, quiet=True)[0]

    said = {}
    stages: list[Stage] = ["evaluation", "predictions"]
    for stage in stages:
        succeeded, outcome = run_use_case(project, "apples", None, None, stages=[stage], quiet=True)
        assert (succeeded, outcome.errors) == (False, [])
        said |= {check.name: check.reason for check in outcome.checks if not check.passed}

    assert said == {
        "measurable": "the model needs the feature 'ripe', which the features lack; make them with it, or materialize "
        "model again.",
        "predicted": "the champion, version 1, needs the feature 'ripe', which the features lack; make them with it, "
        "or put a version in its place that does without: ml-platform rollback or promote.",
    }


def test_a_model_that_leaks_is_not_trained_and_all_that_need_it_say_so(orchard: Project) -> None:
    leaking = fruit("weight").with_columns(pl.col("size").cast(pl.Float64, strict=False).alias("target"))
    leaking.write_csv(orchard.folder / "data" / "weights.csv")

    succeeded, outcome = run_use_case(orchard, "weights", None, None, quiet=True)

    assert (succeeded, outcome.errors) == (False, [])
    said = {(check.stage, check.name): str(check.reason) for check in outcome.checks if not check.passed}
    assert said["model", "leakage"].startswith("size orders the rows as target does (rank correlation 1.0000): leave ")
    assert said["evaluation", "measurable"] == "this cutoff has no model; materialize model first."
    assert said["promotion", "evaluated"] == "weights has no model; materialize model first."
    # without a decision the run stops before the predictions
    assert len(said) == 3
    published = {stage for stage, one in outcome.stages.items() if one.partitions}
    assert published == {"raw_data", "validated_data", "quarantine", "features"}
    assert "predictions" not in outcome.stages


OWN = """
from sklearn.linear_model import LogisticRegression


class Mine(LogisticRegression):
    pass
"""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "regression", "target": "string"}, "the label target is text; make it a number in the transform."),
        ({"estimator": "{package}.own.Mine"}, "did not take the model: "),
    ],
)
def test_what_cannot_be_trained_or_stored_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], said: str
) -> None:
    package = f"stopped_{tmp_path.name}"
    write_project(tmp_path, package)
    (tmp_path / package / "own.py").write_text(OWN)
    values = {key: value for key, value in USE_CASES["apples"].items() if key != "target_of"}
    values |= {key: value.format(package=package) for key, value in changes.items()}
    if values["task"] == "regression":
        values |= {"estimator": "sklearn.linear_model.Ridge", "metric": "r2"}
    fruit("apple or not").write_csv(tmp_path / "data" / "apples.csv")
    write_use_case(tmp_path, package, "apples", TABLE.format(name="apples", **values))
    for project in opened(tmp_path, monkeypatch):
        for _ in range(2):  # nothing that the first run left changes what the second one says
            succeeded, outcome = run_use_case(project, "apples", None, None, quiet=True)
            assert (succeeded, outcome.errors) == (False, [])
            reasons = [str(one.reason) for one in outcome.checks if one.name == "trainable" and not one.passed]
            assert len(reasons) == 1
            assert said in reasons[0]
            assert "server is back" not in reasons[0]


def test_a_refused_source_stops_the_run_before_a_model_is_trained_on_what_was_there(harvested: Project) -> None:
    (harvested.folder / "data" / "apples.csv").unlink()

    succeeded, outcome = run_use_case(harvested, "apples", None, None, quiet=True)

    assert not succeeded
    assert "model" not in outcome.stages
