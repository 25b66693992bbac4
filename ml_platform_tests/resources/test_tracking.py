"""The tracking server: runs that end as they went, models that come back the same, and files that are not believed."""

import json
import os
import pickle
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import dagster as dg
import numpy as np
import polars as pl
import pytest

from ml_platform.ml.preprocessing import matrix
from ml_platform.ml.report import Interval
from ml_platform.ml.training import TrainedModel, pipeline
from ml_platform.references import load
from ml_platform.resources.model_files import DESCRIPTION_FILE, MODEL_FILE
from ml_platform.resources.registry import CUTOFF_TAG, DIGEST_TAG, INPUTS_TAG, USE_CASE_TAG, StoredModel, Version
from ml_platform.resources.scoring_process import ScoringProcess
from ml_platform.resources.tracking import ChangedModelError, Tracking
from ml_platform.use_case import Task

ROWS = pl.DataFrame(
    {
        "visits": [1, None, 3, 4, 5, 6, None, 8] * 5,
        "amount": [0.1, 0.2, None, 0.4, 0.5, 0.6, 0.7, 0.8] * 5,
        "shop": ["a", "b", None, "a", "ü", "b", "a", "c"] * 5,
        "paid": [True, False, None, True, False, True, False, True] * 5,
        "fraud": [0, 1, 0, 1, 0, 1, 1, 0] * 5,
        "colour": ["red", "green", "blue", "red", "red", "blue", "green", "red"] * 5,
    }
)
COLUMNS = ("visits", "amount", "shop", "paid")
LABELS: dict[Task, str] = {
    "binary_classification": "fraud",
    "multiclass_classification": "colour",
    "regression": "fraud",
}
CUTOFF = "2024-01-08"

executed: list[str] = []


def execute(what: str) -> None:
    executed.append(what)


class Trap:
    """An object that leaves a trace when it is made from a file."""

    def __new__(cls) -> "Trap":
        executed.append("made")
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        executed.append("loaded")


class PickledTrap:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return executed.append, ("unpickled",)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    folder = tmp_path_factory.mktemp("tracking")
    with pytest.MonkeyPatch.context() as environment:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID"):  # set by mlflow; undone afterwards
            environment.setenv(name, "")
            environment.delenv(name)
        yield Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifacts=f"{folder}/artifacts")


@pytest.fixture(scope="module")
def client(tracking: Tracking) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking.uri)


def in_asset(body: Callable[[dg.AssetExecutionContext], Any]) -> Any:
    """What a function of the context gives inside an asset's step."""
    results = []

    @dg.asset
    def asset(context: dg.AssetExecutionContext) -> None:
        results.append(body(context))

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([asset], instance=instance)
    return results[0]


def fitted(run_id: str, task: Task = "regression", estimator: str = "sklearn.linear_model.Ridge") -> TrainedModel:
    inputs = matrix(ROWS, COLUMNS)
    made = pipeline(ROWS.select(COLUMNS), load(estimator)(), task, seed=0).fit(inputs, ROWS[LABELS[task]].to_numpy())
    threshold = 0.3 if task == "binary_classification" else None
    return TrainedModel(made, task, COLUMNS, run_id, threshold, {"seed": 7, "depths": [3, None], "shrink": True})


def store(tracking: Tracking, use_case: str, cutoff: str = CUTOFF, **model: Any) -> tuple[TrainedModel, StoredModel]:
    """A model trained and stored in a run of its own."""

    def train(context: dg.AssetExecutionContext) -> tuple[TrainedModel, StoredModel]:
        with tracking.run(context, use_case, cutoff) as run:
            trained = fitted(run.mlflow_run_id, **model)
            return trained, tracking.store_model(trained, ROWS.head(3))

    stored: tuple[TrainedModel, StoredModel] = in_asset(train)
    return stored


def folder_of(tracking: Tracking, stored: StoredModel) -> Path:
    """Where MLflow keeps a stored model."""
    from mlflow import MlflowClient

    return Path(MlflowClient(tracking.uri).get_logged_model(stored.address.removeprefix("models:/")).artifact_location)


def test_a_run_that_went_well_is_finished(tracking: Tracking, client: Any) -> None:
    def body(context: dg.AssetExecutionContext) -> str:
        with tracking.run(context, "finished", CUTOFF) as run:
            run.log_params({f"name_{number}": number for number in range(101)})
            run.log_metric("rows", 3)
            assert client.get_run(run.mlflow_run_id).info.status == "RUNNING"
            return str(run.mlflow_run_id)

    run = client.get_run(in_asset(body))
    assert run.info.status == "FINISHED"
    assert run.info.end_time >= run.info.start_time
    assert len(run.data.params) == 101
    assert run.data.metrics == {"rows": 3}


def test_a_run_whose_block_raises_is_failed_and_the_exception_comes_through(tracking: Tracking, client: Any) -> None:
    run_ids = []

    def body(context: dg.AssetExecutionContext) -> None:
        with tracking.run(context, "failed", CUTOFF) as run:
            run_ids.append(run.mlflow_run_id)
            raise ZeroDivisionError("of the training")

    with pytest.raises(ZeroDivisionError, match="of the training"):
        in_asset(body)
    assert client.get_run(run_ids[0]).info.status == "FAILED"


def test_an_interrupted_run_is_failed(tracking: Tracking, client: Any) -> None:
    run_ids = []

    def body(context: dg.AssetExecutionContext) -> None:
        with tracking.run(context, "interrupted", CUTOFF) as run:
            run_ids.append(run.mlflow_run_id)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_asset(body)
    assert client.get_run(run_ids[0]).info.status == "FAILED"


def test_a_run_names_its_dagster_run_its_use_case_and_its_cutoff(tracking: Tracking, client: Any) -> None:
    def body(context: dg.AssetExecutionContext) -> tuple[str, str]:
        with tracking.run(context, "linked", CUTOFF) as run:
            return context.run.run_id, run.mlflow_run_id

    dagster_run, mlflow_run = in_asset(body)
    run = client.get_run(mlflow_run)
    assert run.data.tags["dagster_run_id"] == dagster_run
    assert run.data.tags[USE_CASE_TAG] == "linked"
    assert run.data.tags[CUTOFF_TAG] == CUTOFF
    assert client.get_experiment(run.info.experiment_id).name == "linked"


def test_a_run_may_belong_to_another_and_begin_before_it_is_made(tracking: Tracking, client: Any) -> None:
    trained, _ = store(tracking, "again")

    def body(context: dg.AssetExecutionContext) -> str:
        with tracking.run(context, "again", CUTOFF, began=1_700_000_000.5, parent=trained.run_id) as run:
            return str(run.mlflow_run_id)

    run_id = in_asset(body)
    assert [run.info.run_id for run in children(client, trained.run_id)] == [run_id]
    assert client.get_run(run_id).info.start_time == 1_700_000_000_500
    assert "mlflow.parentRunId" not in client.get_run(trained.run_id).data.tags


@pytest.mark.parametrize(("cutoff", "name"), [(CUTOFF, "named 2024-01-08"), ("", "named")])
def test_a_run_has_the_name_of_its_use_case_and_cutoff(tracking: Tracking, client: Any, cutoff: str, name: str) -> None:
    def body(context: dg.AssetExecutionContext) -> str:
        with tracking.run(context, "named", cutoff) as run:
            return str(run.mlflow_run_id)

    assert client.get_run(in_asset(body)).info.run_name == name


def test_two_runs_of_one_dagster_run_are_two_runs(tracking: Tracking, client: Any) -> None:
    def body(context: dg.AssetExecutionContext) -> list[str]:
        found = []
        for cutoff in ("2024-01-08", "2024-01-15"):
            with tracking.run(context, "twice", cutoff) as run:
                run.log_params({"cutoff": cutoff})
                found.append(run.mlflow_run_id)
        return found

    first, second = (client.get_run(run_id) for run_id in in_asset(body))
    assert first.info.run_id != second.info.run_id
    assert (first.data.params, second.data.params) == ({"cutoff": "2024-01-08"}, {"cutoff": "2024-01-15"})
    assert (first.info.status, second.info.status) == ("FINISHED", "FINISHED")
    assert first.data.tags["dagster_run_id"] == second.data.tags["dagster_run_id"]


def test_a_run_that_someone_left_open_is_not_written_to(tracking: Tracking, client: Any) -> None:
    import mlflow

    def body(context: dg.AssetExecutionContext) -> str:
        with tracking.run(context, "alone", CUTOFF) as run:
            run.log_params({"seed": 0})
            return str(run.mlflow_run_id)

    in_asset(body)
    left_open = mlflow.start_run(experiment_id=client.create_experiment("left_open"))
    try:
        own = client.get_run(in_asset(body))
        assert client.get_run(left_open.info.run_id).data.params == {}
        assert own.data.params == {"seed": "0"}
        assert own.info.status == "FINISHED"
    finally:
        mlflow.end_run()


@pytest.mark.parametrize(
    ("task", "estimator"),
    [
        ("binary_classification", "sklearn.ensemble.HistGradientBoostingClassifier"),
        ("binary_classification", "sklearn.ensemble.RandomForestClassifier"),
        ("multiclass_classification", "sklearn.linear_model.LogisticRegression"),
        ("regression", "sklearn.ensemble.GradientBoostingRegressor"),
    ],
)
def test_a_model_that_is_loaded_predicts_as_the_one_that_was_stored(
    tracking: Tracking, task: Task, estimator: str
) -> None:
    trained, stored = store(tracking, "loaded", task=task, estimator=estimator)
    loaded = tracking.load_model(stored.address)
    assert (loaded.task, loaded.columns, loaded.run_id) == (trained.task, trained.columns, trained.run_id)
    assert (loaded.threshold, loaded.params) == (trained.threshold, trained.params)
    np.testing.assert_allclose(loaded.predict(ROWS), trained.predict(ROWS), rtol=0, atol=1e-12)
    if task == "multiclass_classification":
        assert list(loaded.pipeline.classes_) == ["blue", "green", "red"]


def test_a_stored_model_scores_alike_in_a_fresh_process(tracking: Tracking) -> None:
    trained, stored = store(
        tracking, "fresh", task="multiclass_classification", estimator="sklearn.tree.DecisionTreeClassifier"
    )
    with ScoringProcess() as process:
        assert process.check(folder_of(tracking, stored), ROWS, trained.predict(ROWS)) is None
        reason = process.check(folder_of(tracking, stored), ROWS, 1 - trained.predict(ROWS))
    assert reason is not None
    assert "40 of 40 rows differently" in reason


def test_a_model_with_missing_integers_keeps_its_signature(tracking: Tracking) -> None:
    from mlflow.models import Model

    _, stored = store(tracking, "signed", task="binary_classification", estimator="sklearn.tree.DecisionTreeClassifier")
    described = Model.load(str(folder_of(tracking, stored)))
    assert ROWS.head(3)["visits"].null_count() == 1
    assert described.signature.inputs.input_names() == list(COLUMNS)
    assert [kind.name for kind in described.signature.inputs.input_types()] == ["double", "double", "string", "double"]
    assert described.load_input_example(str(folder_of(tracking, stored))).shape == (3, 4)


def test_the_signature_has_the_shape_of_what_is_served(tracking: Tracking) -> None:
    import mlflow

    _, stored = store(
        tracking, "served", task="binary_classification", estimator="sklearn.linear_model.LogisticRegression"
    )
    served = mlflow.pyfunc.load_model(str(folder_of(tracking, stored)))
    assert served.metadata.signature.outputs.inputs[0].shape[1:] == served.predict(matrix(ROWS, COLUMNS)).shape[1:]


def test_a_stored_model_is_not_found_before_it_is_published(tracking: Tracking) -> None:
    trained, stored = store(tracking, "published")
    message = "^published has no model of cutoff 2024-01-08; materialize model first.$"
    with pytest.raises(LookupError, match=message):
        tracking.model_of("published", CUTOFF)
    tracking.publish_model(stored)
    assert tracking.model_of("published", CUTOFF) == stored
    assert stored.run_id == trained.run_id


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("http://me:hushhush@mlflow:5000", "http://mlflow:5000"),
        ("postgresql+psycopg2://me:hush%40hush@host:5432/mlflow", "postgresql+psycopg2://host:5432/mlflow"),
        ("http://mlflow:5000", "http://mlflow:5000"),
        ("sqlite:////home/mlflow.db", "sqlite:////home/mlflow.db"),
    ],
)
def test_what_is_said_of_a_server_has_neither_name_nor_password(uri: str, address: str) -> None:
    tracking = Tracking(uri=uri, artifacts="")
    assert tracking.failure(ConnectionError()) == f"the tracking server {address} cannot be reached"
    assert tracking.failure(ValueError(f"{uri}/api said no.")) == (
        f"the tracking server {address} did not take the model: {address}/api said no"
    )


def test_the_newest_published_model_of_a_cutoff_is_found(tracking: Tracking) -> None:
    _, first = store(tracking, "newest")
    _, second = store(tracking, "newest")
    _, other = store(tracking, "newest", cutoff="2024-01-15")
    for stored in (first, other):
        tracking.publish_model(stored)
    assert tracking.model_of("newest", CUTOFF) == first
    tracking.publish_model(second)
    assert tracking.model_of("newest", CUTOFF) == second
    assert tracking.model_of("newest", "2024-01-15") == other


def test_a_published_model_has_its_data_version(tracking: Tracking) -> None:
    later = "2024-01-15"
    assert tracking.data_versions("versioned", [CUTOFF, None]) == {}
    _, first = store(tracking, "versioned")
    _, second = store(tracking, "versioned")
    _, undated = store(tracking, "versioned", cutoff="")
    _, unversioned = store(tracking, "versioned", cutoff=later)
    tracking.publish_model(first, "0a")
    tracking.publish_model(undated, "0b")
    tracking.publish_model(unversioned)
    assert tracking.data_versions("versioned", [CUTOFF, later, None]) == {CUTOFF: "0a", None: "0b"}
    tracking.publish_model(second, "0c")
    assert tracking.data_versions("versioned", [CUTOFF]) == {CUTOFF: "0c"}


def test_a_model_published_again_has_the_newer_data_version(tracking: Tracking) -> None:
    _, stored = store(tracking, "republished")
    for version in ("0a", "0b"):
        tracking.publish_model(stored, version)
    assert tracking.data_versions("republished", [CUTOFF]) == {CUTOFF: "0b"}
    assert tracking.model_of("republished", CUTOFF) == stored


def test_a_model_without_partitions_has_the_empty_cutoff(tracking: Tracking) -> None:
    _, stored = store(tracking, "undated", cutoff="")
    tracking.publish_model(stored)
    assert tracking.model_of("undated", "") == stored
    with pytest.raises(LookupError):
        tracking.model_of("undated", CUTOFF)


def test_a_use_case_that_never_ran_has_no_model(tracking: Tracking) -> None:
    with pytest.raises(LookupError, match=r"^never_ran has no model; "):
        tracking.model_of("never_ran", "")


def of_another(folder: Path, other: Path) -> None:
    (folder / MODEL_FILE).write_bytes((other / MODEL_FILE).read_bytes())


def decided_otherwise(folder: Path, _: Path) -> None:
    described = folder / DESCRIPTION_FILE
    described.write_text(described.read_text().replace("threshold: 0.3", "threshold: 0.0001"))


def cut_off(folder: Path, _: Path) -> None:
    (folder / MODEL_FILE).write_bytes((folder / MODEL_FILE).read_bytes()[:100])


def without_pipeline(folder: Path, _: Path) -> None:
    (folder / MODEL_FILE).unlink()


def no_description(folder: Path, _: Path) -> None:
    (folder / DESCRIPTION_FILE).write_text("metadata: [")


def not_described(folder: Path, _: Path) -> None:
    (folder / DESCRIPTION_FILE).write_text("metadata: {task: regression}")


@pytest.mark.parametrize(
    "change", [of_another, decided_otherwise, cut_off, without_pipeline, no_description, not_described]
)
def test_a_model_whose_files_were_changed_is_refused(
    tracking: Tracking, client: Any, change: Callable[[Path, Path], None]
) -> None:
    estimators = ("sklearn.linear_model.LogisticRegression", "sklearn.tree.DecisionTreeClassifier")
    own, other = (store(tracking, "changed", task="binary_classification", estimator=one)[1] for one in estimators)
    changed = folder_of(tracking, own)
    tracking.load_model(own.address)
    before = {file: file.read_bytes() for file in (changed / MODEL_FILE, changed / DESCRIPTION_FILE)}
    change(changed, folder_of(tracking, other))
    assert before != {file: file.read_bytes() for file in before if file.exists()}
    what = f"run {own.run_id}, were changed since they were stored"
    with pytest.raises(ChangedModelError, match=f"^the files of the model, {what}; train it again.$"):
        tracking.load_model(own.address)
    tracking.load_model(other.address)
    if change is of_another:  # what was stored before digests were kept
        client.delete_tag(own.run_id, DIGEST_TAG)
        tracking.load_model(own.address)


def test_a_registered_version_whose_files_were_changed_is_named(tracking: Tracking) -> None:
    _, stored = store(tracking, "changed_version")
    version = tracking.register("changed_version", stored, {})
    without_pipeline(folder_of(tracking, stored), Path())
    told = rf"version 1 of changed_version, run {stored.run_id}, were .*; roll back to another version, or train"
    with pytest.raises(ChangedModelError, match=told):
        tracking.load_model(version.address)


def test_a_description_that_was_only_written_anew_is_no_change(tracking: Tracking) -> None:
    from mlflow.models import Model

    trained, stored = store(tracking, "written_anew")
    folder = folder_of(tracking, stored)
    described = Model.load(str(folder))
    described.metadata = {"more": 1, **dict(reversed(described.metadata.items()))}
    described.save(str(folder / DESCRIPTION_FILE))
    assert tracking.load_model(stored.address).params == trained.params


@pytest.fixture
def trapped(tracking: Tracking, client: Any) -> tuple[StoredModel, Path]:
    """A stored model, of before digests were kept, whose file a trap has taken the place of."""
    import skops.io
    from sklearn.pipeline import Pipeline

    _, stored = store(tracking, "trapped")
    client.delete_tag(stored.run_id, DIGEST_TAG)
    file = folder_of(tracking, stored) / MODEL_FILE
    skops.io.dump(Pipeline([("estimator", Trap())]), file)
    executed.clear()
    return stored, file


def test_a_file_of_a_type_that_is_not_trusted_is_refused_and_not_run(
    tracking: Tracking, trapped: tuple[StoredModel, Path]
) -> None:
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    stored, file = trapped
    with pytest.raises(UntrustedTypesFoundException, match="Trap"):
        tracking.load_model(stored.address)
    assert executed == []
    skops.io.load(file, trusted=[f"{__name__}.Trap"])
    assert "made" in executed


def test_the_list_of_trusted_types_inside_an_artifact_is_not_believed(
    tracking: Tracking, trapped: tuple[StoredModel, Path]
) -> None:
    from skops.io.exceptions import UntrustedTypesFoundException

    stored, file = trapped
    described = file.with_name("MLmodel")
    text = described.read_text()
    described.write_text(text.replace("skops_trusted_types:\n", f"skops_trusted_types:\n    - {__name__}.Trap\n"))
    assert described.read_text() != text
    with pytest.raises(UntrustedTypesFoundException, match="Trap"):
        tracking.load_model(stored.address)
    assert executed == []


def test_a_pickle_in_the_place_of_the_model_is_refused_and_not_run(
    tracking: Tracking, trapped: tuple[StoredModel, Path]
) -> None:
    stored, file = trapped
    file.write_bytes(pickle.dumps(PickledTrap()))
    with pytest.raises(BadZipFile):
        tracking.load_model(stored.address)
    assert executed == []


def test_an_artifact_that_says_it_is_a_pickle_is_not_unpickled(
    tracking: Tracking, trapped: tuple[StoredModel, Path]
) -> None:
    stored, file = trapped
    described = file.with_name("MLmodel")
    text = described.read_text().replace("model.skops", "model.pkl").replace("format: skops", "format: cloudpickle")
    described.write_text(text)
    file.with_name("model.pkl").write_bytes(pickle.dumps(PickledTrap()))
    file.unlink()
    with pytest.raises(FileNotFoundError):
        tracking.load_model(stored.address)
    assert executed == []


def test_a_description_that_asks_for_code_is_refused_and_not_run(
    tracking: Tracking, trapped: tuple[StoredModel, Path]
) -> None:
    from yaml import YAMLError

    stored, file = trapped
    text = f"!!python/object/apply:{__name__}.execute [described]\n"
    described = file.with_name("MLmodel")
    described.write_text(described.read_text() + f"more: {text}")
    with pytest.raises(YAMLError):
        tracking.load_model(stored.address)
    assert executed == []


def children(client: Any, parent_run_id: str) -> list[Any]:
    """The child runs of a run, the first one first."""
    experiment = client.get_run(parent_run_id).info.experiment_id
    condition = f"tags.`mlflow.parentRunId` = '{parent_run_id}'"
    found = client.search_runs([experiment], condition, order_by=["attributes.run_name"])
    return list(found)


def test_trials_are_children_of_the_run_that_is_open(tracking: Tracking, client: Any) -> None:
    def body(context: dg.AssetExecutionContext) -> str:
        with tracking.run(context, "searched", CUTOFF) as run:
            tracking.log_trial(
                run.mlflow_run_id, "searched", 0, {"depth": 3, "shrink": True}, "r2", 0.5, 2.0, "tried by"
            )
            tracking.log_trial(run.mlflow_run_id, "searched", 1, {"depth": -1}, "r2", None, 0.0, "tried by")
            run.log_params({"seed": 0})
            return str(run.mlflow_run_id)

    parent = client.get_run(in_asset(body))
    assert (parent.info.status, parent.data.params) == ("FINISHED", {"seed": "0"})
    done, failed = children(client, parent.info.run_id)
    assert (done.info.run_name, done.info.status) == ("trial 0", "FINISHED")
    assert done.data.params == {"params.depth": "3", "params.shrink": "True"}
    assert done.data.metrics == {"r2": 0.5}
    assert done.data.tags[USE_CASE_TAG] == "searched"
    assert done.data.tags["dagster_run_id"] == "tried by"
    assert 2000 <= done.info.end_time - done.info.start_time < 12_000
    assert (failed.info.status, failed.data.metrics) == ("FAILED", {})


def test_a_trial_that_cannot_be_recorded_is_not_left_running(tracking: Tracking, client: Any) -> None:
    from mlflow.exceptions import MlflowException

    trained, _ = store(tracking, "unrecorded")
    with pytest.raises(MlflowException):
        tracking.log_trial(trained.run_id, "unrecorded", 0, {"no name?*": 3}, "r2", 0.5, 0.0, "tried by")
    (child,) = children(client, trained.run_id)
    assert child.info.status == "FAILED"


def test_a_trial_is_never_taken_for_a_model(tracking: Tracking) -> None:
    trained, stored = store(tracking, "tried")
    tracking.publish_model(stored, "0a")
    tracking.log_trial(trained.run_id, "tried", 0, {}, "r2", 0.5, 0.0, "tried by")
    assert tracking.model_of("tried", CUTOFF) == stored
    assert tracking.data_versions("tried", [CUTOFF, None]) == {CUTOFF: "0a"}
    with pytest.raises(LookupError):
        tracking.model_of("tried", "")


def test_metrics_and_pictures_are_added_to_a_run_that_has_ended(tracking: Tracking, client: Any) -> None:
    trained, _ = store(tracking, "evaluated")
    assert tracking.importance_of(trained.run_id) is None
    importance = {"visits": Interval(0.3, 0.2, 0.4, 0.95)}
    tracking.log_evaluation(trained.run_id, {"r2": 0.5}, {"residuals": b"\x89PNG"}, importance)
    tracking.log_evaluation(trained.run_id, {"r2": 0.75}, {}, importance)
    run = client.get_run(trained.run_id)
    assert run.data.metrics == {"r2": 0.75}
    assert run.info.status == "FINISHED"
    files = [one.path for one in client.list_artifacts(trained.run_id, "evaluation")]
    assert files == ["evaluation/importance.json", "evaluation/residuals.png"]
    assert tracking.importance_of(trained.run_id) == importance
    assert Path(client.download_artifacts(trained.run_id, "evaluation/residuals.png")).read_bytes() == b"\x89PNG"


def test_a_model_that_is_registered_twice_has_one_version(tracking: Tracking, client: Any) -> None:
    _, first = store(tracking, "registered")
    _, second = store(tracking, "registered", cutoff="2024-01-15")
    version = tracking.register("registered", first, {CUTOFF_TAG: CUTOFF})
    tags = {CUTOFF_TAG: CUTOFF, INPUTS_TAG: json.dumps(version.inputs)}
    assert version == Version("registered", 1, first.run_id, CUTOFF, first.address, tags)
    assert version.inputs == {"visits": "double", "amount": "double", "shop": "string", "paid": "double"}
    assert tracking.register("registered", first, {CUTOFF_TAG: "another"}) == version
    assert tracking.register("registered", second, {CUTOFF_TAG: "2024-01-15"}).number == 2
    assert tracking.register("registered", first, {}) == version
    assert len(client.search_model_versions("name = 'registered'")) == 2


def test_a_model_without_signature_is_not_registered(tracking: Tracking, client: Any) -> None:
    from mlflow.models import Model

    _, stored = store(tracking, "unsigned")
    folder = folder_of(tracking, stored)
    described = Model.load(str(folder))
    described.signature = None
    described.save(str(folder / "MLmodel"))
    with pytest.raises(ValueError, match=f"^the model of run {stored.run_id} has no signature; train it again.$"):
        tracking.register("unsigned", stored, {CUTOFF_TAG: CUTOFF})
    assert client.search_registered_models("name = 'unsigned'") == []


def test_the_champion_is_the_version_that_was_crowned_last(tracking: Tracking) -> None:
    trained, stored = store(tracking, "crowned")
    _, other = store(tracking, "crowned", cutoff="2024-01-15")
    first = tracking.register("crowned", stored, {CUTOFF_TAG: CUTOFF})
    second = tracking.register("crowned", other, {CUTOFF_TAG: "2024-01-15"})
    assert tracking.champion("crowned") is None
    tracking.crown(second)
    assert tracking.champion("crowned") == second
    tracking.crown(first)
    champion = tracking.champion("crowned")
    assert champion == first
    np.testing.assert_array_equal(tracking.load_model(champion.address).predict(ROWS), trained.predict(ROWS))


def test_a_registry_that_does_not_exist_has_no_champion(tracking: Tracking) -> None:
    assert tracking.champion("never_registered") is None


def test_telemetry_is_off(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    tracking.champion("never_registered")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_telemetry_that_someone_turned_on_stays_on(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    tracking.champion("never_registered")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "false"


def test_an_experiment_that_another_process_has_made_meanwhile_is_taken(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    tracking._experiment("made_first")
    look, looked = mlflow.get_experiment_by_name, []

    def late(name: str) -> Any:
        looked.append(name)
        return None if len(looked) == 1 else look(name)

    monkeypatch.setattr(mlflow, "get_experiment_by_name", late)
    assert tracking._experiment("made_first") == look("made_first").experiment_id
    assert looked == ["made_first", "made_first"]


def test_threads_that_make_databases_at_once_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # so that what mlflow sets is undone
    databases = [tmp_path / f"{number}.db" for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda file: Tracking(uri=f"sqlite:///{file}", artifacts=f"{tmp_path}/a").errors(), databases))
    assert sorted(tmp_path.iterdir()) == databases
    for file in databases:
        with closing(sqlite3.connect(file)) as database:
            assert database.execute("SELECT artifact_location FROM experiments").fetchall() == [(f"{tmp_path}/a/0",)]
