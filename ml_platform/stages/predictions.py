"""The stage `predictions`: the champion applied to each partition's rows."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from ml_platform.ml.contract import PARTITION
from ml_platform.ml.training import TrainedModel
from ml_platform.resources.lake import Lake
from ml_platform.resources.tracking import Tracking, Version
from ml_platform.stages.attributes import asset_key, asset_spec, check_specs, row_count, stage_step
from ml_platform.stages.validated_data import rows_by_partition
from ml_platform.stages.verdicts import Verdict, conclude, partition_keys
from ml_platform.use_case import UseCase


def build(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset `predictions` of a use case."""
    spec = asset_spec(
        use_case,
        "predictions",
        "The champion's prediction for each row of features, with the versions of model and features.",
        kinds={"scikitlearn", "deltalake"},
    )
    promotion = dg.AssetDep(
        asset_key(use_case, "promotion"), partition_mapping=dg.LastPartitionMapping() if use_case.windows else None
    )

    @stage_step(
        spec,
        io_manager="tables",
        ins={"features": dg.AssetIn(asset_key(use_case, "features"))},
        deps=[promotion],
        checks=check_specs(use_case, "predictions", predicted="Each row of features has a prediction by the champion."),
    )
    def predictions(
        context: dg.AssetExecutionContext, features: pl.DataFrame, lake: Lake, tracking: Tracking
    ) -> Iterator[dg.Output[Any]]:
        champion = tracking.champion(use_case.registry.name)
        given = rows_by_partition(features)
        keys = partition_keys(context)
        verdicts = [Verdict("predicted", key, _reason(champion, use_case, given.get(key, 0))) for key in keys]
        rows = pl.DataFrame()
        if champion is not None and not features.is_empty():
            version = lake.table(asset_key(use_case, "features")).version()
            rows = predict(use_case, tracking.load_model(champion.address), champion, features, version)
        shown = {"model_version": champion.number, "model_cutoff": champion.cutoff} if champion else {}
        yield from conclude(
            context, spec.key, rows, verdicts, {key: {**row_count(key, given.get(key, 0)), **shown} for key in keys}
        )

    return predictions


def predict(
    use_case: UseCase, model: TrainedModel, champion: Version, features: pl.DataFrame, features_version: int
) -> pl.DataFrame:
    """A prediction for each row: its key and time, the score, and what it was made of.

    `prediction` is the score of the positive class or the value; with more than two classes it is the likeliest class
    and `scores` has the score of each.
    """
    contract = use_case.contract
    identity = [*contract.key, *([contract.event_time] if contract.event_time else [])]
    scores = model.predict(features)
    if use_case.task == "multiclass_classification":
        likeliest = model.pipeline.classes_[scores.argmax(axis=1)]
        columns = [pl.Series("prediction", likeliest), pl.Series("scores", scores.tolist())]
    else:
        columns = [pl.Series("prediction", scores)]
    rows = features.select(*identity, *([PARTITION] if use_case.windows else [])).with_columns(
        *columns, pl.lit(champion.number).alias("model_version"), pl.lit(features_version).alias("features_version")
    )
    name = f"{champion.name}-{champion.number}"
    return rows.with_columns(pl.concat_str(pl.lit(name), *contract.key, separator="-").alias("prediction_id"))


def _reason(champion: Version | None, use_case: UseCase, rows: int) -> str | None:
    if champion is None:
        return f"{use_case.registry.name} has no champion; materialize promotion first."
    return None if rows else "there are no features; materialize features first."
