"""A version's trace says what it was made of as it was then, whatever was run since."""

import hashlib
import platform

import polars as pl
import pytest
import scipy
import sklearn
from mlflow import MlflowClient

from ml_platform.cli.project import Project
from ml_platform.cli.run import run_use_case
from ml_platform.errors import UserError
from ml_platform.resources.registry import Version
from ml_platform.stages.work import Work
from ml_platform.versions.moves import rollback
from ml_platform.versions.trace import trace


def version_of(work: Work, number: int) -> Version:
    found = work.tracking.version("payments", number)
    assert found is not None
    return found


def corrected(project: Project, day: str) -> None:
    """Another file for a day, and all up to features of that day made again."""
    file = project.folder / "data" / f"{day}.parquet"
    pl.read_parquet(file).with_columns(pl.col("TX_AMOUNT") * 2).write_parquet(file)
    stages = ("raw_data", "validated_data", "features")
    assert run_use_case(project, "payments", day, day, stages=stages, quiet=True)[0]


def test_a_trace_has_data_code_parameters_environment_runs_and_moves(registered: Project) -> None:
    work = registered.work("payments")
    found, version = trace(work, version_of(work, 2)), version_of(work, 2)
    assert (found["version"], found["cutoff"], found["mlflow_run"]) == ("payments@2", "2018-04-23", version.run_id)
    assert registered.instance.get_run_by_id(found["dagster_run"]) is not None
    assert found["model"]["estimator"] == "sklearn.linear_model.LogisticRegression"
    assert found["config"]["model.train_on"] == '"3 days"'
    assert found["environment"]["python"] == platform.python_version()
    assert found["environment"]["platform"] == platform.platform()
    assert found["environment"]["scipy"] == scipy.__version__
    assert found["environment"]["scikit-learn"] == sklearn.__version__
    assert any(name.startswith("ml_platform.ml.training:") for name in found["code"])
    # trained on three days from the 13th, judged on three up to the 20th, and features look two days back
    assert list(found["features"]) == [f"2018-04-{day}" for day in range(13, 21)]
    assert list(found["validated_data"]) == list(found["raw_data"]) == [f"2018-04-{day}" for day in range(11, 21)]
    versions = work.data_versions("features", list(found["features"]))
    assert {day: one["data_version"] for day, one in found["features"].items()} == versions
    for stage in ("features", "validated_data", "raw_data"):
        assert all(isinstance(one["table_version"], int) for one in found[stage].values()), stage
    fingerprints = {day: one["source_fingerprint"] for day, one in found["raw_data"].items()}
    assert len(set(fingerprints.values())) == 10
    assert all(len(one) == len(hashlib.sha256().hexdigest()) for one in fingerprints.values())
    rollback(work, None, "complaints")
    assert [(one["event"], one["version"]) for one in trace(work, version)["moves"]] == [
        ("promoted", 2),
        ("promoted", 3),
        ("rolled_back", 2),
    ]


def test_a_day_that_is_run_again_does_not_change_an_old_trace(registered: Project) -> None:
    work = registered.work("payments")
    before = trace(work, version_of(work, 3))
    day = "2018-04-21"
    assert day in before["features"]
    corrected(registered, day)
    work = registered.work("payments")
    assert trace(work, version_of(work, 3)) == before
    assert work.data_versions("features", [day])[day] != before["features"][day]["data_version"]


def test_a_version_put_into_mlflow_by_hand_has_no_trace(registered: Project) -> None:
    work = registered.work("payments")
    version = version_of(work, 1)
    MlflowClient(work.tracking.uri).create_model_version("payments", version.address)
    with pytest.raises(UserError, match=r"^version 4 was put into MLflow by hand; nothing is recorded"):
        trace(work, version_of(work, 4))
