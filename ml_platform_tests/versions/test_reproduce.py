"""A version trained again from what was recorded predicts the same, whatever became of data and configuration."""

import dagster as dg
import polars as pl
import pytest
from mlflow import MlflowClient

from ml_platform.cli.project import Project, open_project
from ml_platform.cli.run import run_use_case
from ml_platform.errors import UserError
from ml_platform.resources.registry import Version
from ml_platform.stages.model import PREDICTIONS_TAG
from ml_platform.stages.training_rows import labelled_rows
from ml_platform.stages.work import Work
from ml_platform.versions.reproduce import reproduce
from ml_platform_tests.versions.test_trace import corrected


def version_of(work: Work, number: int) -> Version:
    found = work.tracking.version("payments", number)
    assert found is not None
    return found


@pytest.mark.parametrize("number", [1, 3])
def test_a_version_is_reproduced(registered: Project, number: int) -> None:
    work = registered.work("payments")
    found = reproduce(work, version_of(work, number))
    assert found.equal
    assert found.recorded == found.found
    assert found.rows > 1000
    assert found.differences == []


def test_it_is_reproduced_though_a_day_was_corrected_since(registered: Project) -> None:
    before = reproduce(registered.work("payments"), version_of(registered.work("payments"), 3))
    for day in ("2018-04-21", "2018-04-26"):  # one that it was trained on, one that it was judged on
        corrected(registered, day)
    work = registered.work("payments")
    assert reproduce(work, version_of(work, 3)) == before
    stages = ("model", "evaluation", "promotion")
    assert run_use_case(registered, "payments", None, "2018-04-29", stages=stages, quiet=True)[0]
    assert reproduce(work, version_of(work, 3)) == before
    newer = reproduce(work, version_of(work, 4))
    assert newer.equal
    assert newer.found != before.found


def test_a_parameter_that_was_changed_since_is_told(registered: Project) -> None:
    (file,) = registered.folder.glob("*/defs/payments/defs.yaml")
    file.write_text(file.read_text().replace("train_on: 3 days", "train_on: 3 days\n    params: {C: 0.5}"))
    work = open_project().work("payments")
    found = reproduce(work, version_of(work, 3))
    assert found.equal
    assert found.differences == ["configuration model.params.C was not there and is 0.5"]


def test_a_hash_that_is_not_that_of_its_predictions_is_noticed(registered: Project) -> None:
    work = registered.work("payments")
    version = version_of(work, 3)
    MlflowClient(work.tracking.uri).set_tag(version.run_id, PREDICTIONS_TAG, "0" * 64)
    found = reproduce(work, version)
    assert not found.equal
    assert found.recorded == "0" * 64
    (difference,) = found.differences
    assert difference.startswith("nothing that is recorded differs")


def test_what_lies_in_the_tracking_server_does_not_name_what_is_imported(registered: Project) -> None:
    work = registered.work("payments")
    version = version_of(work, 3)
    written = work.tracking.read_json(version.run_id, "use_case.json")
    written["model"]["estimator"] = "os.getcwd"
    MlflowClient(work.tracking.uri).log_dict(version.run_id, written, "use_case.json")
    with pytest.raises(UserError, match="names another estimator than was trained"):
        reproduce(work, version)


def test_a_feature_that_the_transform_gives_no_more_is_not_trained_on(registered: Project) -> None:
    work = registered.work("payments")
    table = work.lake.table(dg.AssetKey(["payments", "features"]))
    rows = table.scan().collect().with_columns(pl.lit(None, pl.Float64).alias("gone"))
    table.overwrite(rows, rows["partition"].unique().to_list())
    cutoff = version_of(work, 3).cutoff
    assert "gone" not in labelled_rows(work, cutoff, "train").columns
    assert "gone" in labelled_rows(work, cutoff, "hold_out").columns
