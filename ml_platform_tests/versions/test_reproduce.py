"""A version trained again from what was recorded predicts the same, whatever became of data and configuration."""

import platform
import shutil
from dataclasses import replace

import dagster as dg
import polars as pl
import pytest
from deltalake import write_deltalake
from mlflow import MlflowClient

from ml_platform.cli.project import Project, open_project
from ml_platform.cli.run import run_use_case
from ml_platform.errors import UserError
from ml_platform.resources.registry import EVALUATED_TAG, Version
from ml_platform.stages.model import (
    HOLD_OUT_ROWS_TAG,
    PREDICTIONS_TAG,
    RECIPE_TAG,
    TRAINING_ROWS_TAG,
    recipe_of,
)
from ml_platform.stages.recipes import save
from ml_platform.stages.surroundings import COMMIT_TAG, PYTHON_TAG
from ml_platform.stages.training_rows import labelled_rows
from ml_platform.stages.work import Work
from ml_platform.use_case import Stage
from ml_platform.versions.reproduce import reproduce
from ml_platform_tests.stages.test_promotion import change_yaml
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


def trained_again(project: Project, old: str, new: str) -> Work:
    """What a project has stored when its newest cutoff was trained and judged once more with another YAML."""
    changed = change_yaml(project, old, new)
    stages: tuple[Stage, ...] = ("model", "evaluation", "promotion")
    assert run_use_case(changed, "payments", None, "2018-04-29", stages=stages, quiet=True)[0]
    return changed.work("payments")


def test_an_estimator_that_predicts_otherwise_each_time_is_not_reproduced(registered: Project) -> None:
    forest = "sklearn.ensemble.ExtraTreesClassifier\n    params: {n_estimators: 5, random_state: null}"
    work = trained_again(registered, "sklearn.linear_model.LogisticRegression", forest)
    found = reproduce(work, version_of(work, 4))
    assert not found.equal
    assert found.recorded != found.found
    assert found.differences == [
        "nothing that is recorded differs: the estimator is not deterministic, or the machine is another"
    ]


def test_a_version_that_was_trained_once_more_is_reproduced_on_all_known_rows(registered: Project) -> None:
    work = trained_again(registered, "train_on: 3 days", "train_on: 3 days\n    refit: true\n    seed: 5")
    assert EVALUATED_TAG in version_of(work, 4).tags
    assert reproduce(work, version_of(work, 4)).equal


def test_a_parameter_that_was_changed_since_is_told(registered: Project) -> None:
    work = change_yaml(registered, "train_on: 3 days", "train_on: 3 days\n    params: {C: 0.5}").work("payments")
    found = reproduce(work, version_of(work, 3))
    assert found.equal
    assert found.differences == ["configuration model.params.C was not there and is 0.5"]


def test_code_and_packages_that_were_others_are_told(registered: Project) -> None:
    work = registered.work("payments")
    version, now = version_of(work, 3), recipe_of(work.use_case)
    name = next(iter(now.code))
    before = replace(now, code={**now.code, name: "0a"}, environment={**now.environment, "scikit-learn": "0.1"})
    save(work.lake, before)
    for tag, value in {RECIPE_TAG: before.digest, COMMIT_TAG: "0c", PYTHON_TAG: "2.7.18"}.items():
        MlflowClient(work.tracking.uri).set_tag(version.run_id, tag, value)
    assert reproduce(work, version).differences == [
        f"code {name} was 0a and is {now.code[name]}",
        "the code of then is that of the commit 0c; check it out to train with it",
        f"environment python was 2.7.18 and is {platform.python_version()}",
        f"environment scikit-learn was 0.1 and is {now.environment['scikit-learn']}",
    ]


def test_rows_that_are_others_are_told(registered: Project) -> None:
    work = registered.work("payments")
    version, table = version_of(work, 3), work.lake.table(dg.AssetKey(["payments", "features"]))
    rows, commit = table.scan().collect().with_columns(pl.col("TX_AMOUNT") ** 2), table.version()
    shutil.rmtree(table.address)
    for _ in range(commit + 1):  # a table that was lost and is made anew has the same commits, of other rows
        write_deltalake(table.address, rows, mode="overwrite", partition_by=["partition"])
    tags, found = work.tracking.run_of(version.run_id).tags, reproduce(work, version)
    assert not found.equal
    told = [one.split(" was ") for one in found.differences]
    assert [name for name, _ in told] == ["data hold_out_rows_hash", "data training_rows_hash"]
    assert [before.split(" and is ")[0] for _, before in told] == [tags[HOLD_OUT_ROWS_TAG], tags[TRAINING_ROWS_TAG]]


def test_it_is_trained_with_the_seed_of_then(registered: Project) -> None:
    (file,) = registered.folder.glob("*/defs/payments/defs.yaml")
    seeded = file.read_text().replace(
        "estimator: sklearn.linear_model.LogisticRegression",
        "estimator: sklearn.ensemble.ExtraTreesClassifier\n    params: {n_estimators: 5}\n    seed: 1",
    )
    file.write_text(seeded)
    project = open_project()
    stages = ("model", "evaluation", "promotion")
    assert run_use_case(project, "payments", None, "2018-04-29", stages=stages, quiet=True)[0]
    file.write_text(seeded.replace("seed: 1", "seed: 2"))
    work = open_project().work("payments")
    found = reproduce(work, version_of(work, 4))
    assert found.equal
    assert found.differences == ["configuration model.seed was 1 and is 2"]


def test_a_hash_that_is_not_that_of_its_predictions_is_noticed(registered: Project) -> None:
    work = registered.work("payments")
    version = version_of(work, 3)
    MlflowClient(work.tracking.uri).set_tag(version.run_id, PREDICTIONS_TAG, "0" * 64)
    found = reproduce(work, version)
    assert not found.equal
    assert found.recorded == "0" * 64
    (difference,) = found.differences
    assert difference == f"the stored model predicts otherwise than recorded, with the hash {found.found[:16]}"


def test_what_lies_in_the_tracking_server_does_not_name_what_is_imported(registered: Project) -> None:
    work = registered.work("payments")
    version = version_of(work, 3)
    written = work.tracking.read_json(version.run_id, "use_case.json")
    written["model"]["estimator"] = "os.getcwd"
    client = MlflowClient(work.tracking.uri)  # a run of its own: files of MLflow are those of other tests too
    run = client.get_run(version.run_id)
    changed = client.create_run(run.info.experiment_id, tags=run.data.tags).info.run_id
    client.log_dict(changed, written, "use_case.json")
    with pytest.raises(UserError, match=r"says otherwise than was trained in model\.estimator; it was"):
        reproduce(work, replace(version, run_id=changed))


def test_a_feature_that_the_transform_gives_no_more_is_not_trained_on(registered: Project) -> None:
    work = registered.work("payments")
    table = work.lake.table(dg.AssetKey(["payments", "features"]))
    rows = table.scan().collect().with_columns(pl.lit(None, pl.Float64).alias("gone"))
    table.overwrite(rows, rows["partition"].unique().to_list())
    cutoff = version_of(work, 3).cutoff
    assert "gone" not in labelled_rows(work, cutoff, "train").columns
    assert "gone" in labelled_rows(work, cutoff, "hold_out").columns
