"""Models between stages: only what was published is found, by cutoff, and it predicts as it did when it was stored."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from ml_platform.io_managers.models import ModelIOManager, Models
from ml_platform.ml.preprocessing import matrix
from ml_platform.ml.training import TrainedModel, pipeline
from ml_platform.partitions import accepted_previews
from ml_platform.resources.registry import StoredModel
from ml_platform.resources.tracking import Tracking

MONDAYS = dg.WeeklyPartitionsDefinition("2024-01-01", day_offset=1, fmt="%Y-%m-%d", end_date="2024-01-29")
WEEKLY: dict[str, Any] = {"partitions_def": MONDAYS, "backfill_policy": dg.BackfillPolicy.single_run()}
FIRST, SECOND, THIRD = "2024-01-01", "2024-01-08", "2024-01-15"
ROWS = pl.DataFrame({"size": [1.0, 2.0, 4.0, 8.0], "age": [3, None, 1, 2]})

Cutoffs = Sequence[str | None]
Trained = dict[str | None, TrainedModel]


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as environment:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID"):  # set by mlflow; undone afterwards
            environment.setenv(name, "")
            environment.delenv(name)
        yield Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifacts=f"{folder}/artifacts")


@pytest.fixture
def shop(request: pytest.FixtureRequest) -> str:
    """A use case that no other test has models of."""
    return str(request.node.name).removeprefix("test_")


def fitted(run_id: str, slope: float) -> TrainedModel:
    from sklearn.linear_model import Ridge

    columns = ("size", "age")
    made = pipeline(ROWS.select(columns), Ridge(), "regression", seed=0)
    return TrainedModel(made.fit(matrix(ROWS, columns), slope * np.arange(4)), "regression", columns, run_id)


def model(tracking: Tracking, shop: str, cutoffs: Cutoffs, trained: Trained) -> dg.AssetsDefinition:
    """The asset that trains a model for each of some cutoffs; `trained` keeps them."""

    def compute(context: dg.AssetExecutionContext) -> Any:
        stored: dict[str | None, StoredModel] = {}
        for slope, cutoff in enumerate(cutoffs, start=len(trained) + 1):
            with tracking.run(context, shop, cutoff or "") as run:
                trained[cutoff] = fitted(run.mlflow_run_id, slope)
                stored[cutoff] = tracking.store_model(trained[cutoff], ROWS)
        return stored

    with accepted_previews():
        return dg.asset(key=[shop, "model"], **({} if None in cutoffs else WEEKLY))(compute)


def reader(shop: str, read: Callable[[Models], None], *, partitioned: bool = True) -> dg.AssetsDefinition:
    def compute(model: Models) -> None:
        read(model)

    with accepted_previews():
        return dg.asset(name="reader", ins={"model": dg.AssetIn([shop, "model"])}, **(WEEKLY if partitioned else {}))(
            compute
        )


@contextmanager
def running(tracking: Tracking) -> Iterator[Callable[..., dg.DagsterInstance]]:
    """A function that materializes assets over a range of cutoffs, and the instance it does so in."""
    ends = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    with dg.DagsterInstance.ephemeral() as instance:

        def run(*assets: dg.AssetsDefinition, cutoffs: tuple[str, str] | None, only: str | None = None) -> Any:
            dg.materialize(
                assets,
                instance=instance,
                resources={"io_manager": ModelIOManager(tracking=tracking)},
                selection=[only] if only else None,
                tags=dict(zip(ends, cutoffs, strict=True)) if cutoffs else None,
            )
            return instance

        yield run


def test_the_next_stage_gets_the_models_of_its_cutoffs(tracking: Tracking, shop: str) -> None:
    trained: Trained = {}
    predictions: list[dict[str | None, Any]] = []
    assets = [
        model(tracking, shop, [FIRST, SECOND, THIRD], trained),
        reader(shop, lambda models: predictions.append({cutoff: one.predict(ROWS) for cutoff, one in models.items()})),
    ]
    with running(tracking) as run:
        run(*assets, cutoffs=(FIRST, THIRD))
        run(*assets, cutoffs=(SECOND, SECOND), only="reader")
    assert [list(one) for one in predictions] == [[FIRST, SECOND, THIRD], [SECOND]]
    for found in predictions:
        for cutoff, values in found.items():
            np.testing.assert_allclose(values, trained[cutoff].predict(ROWS), rtol=0, atol=1e-12)
    assert not np.allclose(predictions[0][FIRST], predictions[0][SECOND])


def stored_models(tracking: Tracking, shop: str, *cutoffs: str | None) -> dict[str | None, StoredModel]:
    """A model for each of some cutoffs that is stored and not published."""
    stored: dict[str | None, StoredModel] = {}

    @dg.asset
    def train(context: dg.AssetExecutionContext) -> None:
        for cutoff in cutoffs:
            with tracking.run(context, shop, cutoff or "") as run:
                stored[cutoff] = tracking.store_model(fitted(run.mlflow_run_id, 1.0), ROWS)

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([train], instance=instance)
    return stored


def test_only_the_cutoffs_that_are_named_are_published_each_with_its_data_version(
    tracking: Tracking, shop: str
) -> None:
    manager, spec = ModelIOManager(tracking=tracking), dg.AssetSpec([shop, "model"])
    stored = stored_models(tracking, shop, FIRST, SECOND)
    assert manager.write(spec, stored, {FIRST: "0a"}) == {}
    assert manager.data_versions(spec.key, [FIRST, SECOND, THIRD]) == {FIRST: "0a"}
    assert tracking.model_of(shop, FIRST) == stored[FIRST]
    with pytest.raises(LookupError, match=rf"has no model of cutoff {SECOND}; materialize model first\.$"):
        tracking.model_of(shop, SECOND)


def test_a_cutoff_that_is_not_named_keeps_the_model_it_had(tracking: Tracking, shop: str) -> None:
    manager, spec = ModelIOManager(tracking=tracking), dg.AssetSpec([shop, "model"])
    before, after = (stored_models(tracking, shop, FIRST, SECOND) for _ in range(2))
    manager.write(spec, before, {FIRST: "0a", SECOND: "0b"})
    manager.write(spec, after, {SECOND: "0c"})
    assert manager.data_versions(spec.key, [FIRST, SECOND]) == {FIRST: "0a", SECOND: "0c"}
    assert Models(tracking, shop, [FIRST]).stored(FIRST) == before[FIRST]


def test_without_partitions_the_model_has_a_data_version_too(tracking: Tracking, shop: str) -> None:
    manager, spec = ModelIOManager(tracking=tracking), dg.AssetSpec([shop, "model"])
    assert manager.data_versions(spec.key, [None]) == {}
    manager.write(spec, stored_models(tracking, shop, None), {None: "0a"})
    assert manager.data_versions(spec.key, [None]) == {None: "0a"}


def test_a_model_trained_again_takes_the_place_of_the_one_before(tracking: Tracking, shop: str) -> None:
    trained: Trained = {}
    with running(tracking) as run:
        for _ in range(2):
            run(model(tracking, shop, [FIRST], trained), cutoffs=(FIRST, FIRST))
    assert tracking.model_of(shop, FIRST).run_id == trained[FIRST].run_id


def test_without_partitions_there_is_one_model(tracking: Tracking, shop: str) -> None:
    trained: Trained = {}
    seen: list[Models] = []
    with running(tracking) as run:
        run(model(tracking, shop, [None], trained), reader(shop, seen.append, partitioned=False), cutoffs=None)
    assert list(seen[0]) == [None]
    assert len(seen[0]) == 1
    np.testing.assert_allclose(seen[0][None].predict(ROWS), trained[None].predict(ROWS), rtol=0, atol=1e-12)


def test_models_are_looked_for_when_they_are_asked_for(tracking: Tracking, shop: str) -> None:
    models = Models(tracking, shop, [FIRST, SECOND])
    assert list(models) == [FIRST, SECOND]
    assert len(models) == 2
    with pytest.raises(LookupError, match="has no model of cutoff"):
        models[FIRST]


def test_a_window_before_the_first_cutoff_has_no_models(tracking: Tracking, shop: str) -> None:
    with accepted_previews():
        before = dg.TimeWindowPartitionMapping(-1, -1, allow_nonexistent_upstream_partitions=True)
    trained: Trained = {}
    seen: list[Models] = []

    def compute(model: Models) -> None:
        seen.append(model)

    after = dg.asset(
        name="reader", ins={"model": dg.AssetIn([shop, "model"], partition_mapping=before)}, partitions_def=MONDAYS
    )(compute)
    assets = [model(tracking, shop, [FIRST], trained), after]
    with running(tracking) as run:
        run(*assets, cutoffs=(FIRST, FIRST), only=f"{shop}/model")
        run(*assets, cutoffs=(FIRST, FIRST), only="reader")
    assert list(seen[0]) == []
