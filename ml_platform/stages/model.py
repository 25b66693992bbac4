"""The stage `model`: one fitted scikit-learn pipeline for each training cutoff, tracked in MLflow."""

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from ml_platform.ml.training import TrainedModel, feature_columns, fit
from ml_platform.resources.lake import Lake
from ml_platform.resources.tracking import StoredModel, Tracking
from ml_platform.stages.attributes import asset_key, asset_spec, check_specs, stage_step
from ml_platform.stages.training_rows import CutoffRows, features_input, missing_features, rows_of
from ml_platform.stages.verdicts import Verdict, conclude, partition_keys
from ml_platform.use_case import UseCase

EXAMPLE_ROWS = 5


def build(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset `model` of a use case."""
    spec = asset_spec(
        use_case,
        "model",
        f"`{use_case.model.estimator}`, trained only on rows whose label was known by the cutoff.",
        kinds={"scikitlearn", "mlflow"},
    )

    @stage_step(
        spec,
        io_manager="models",
        ins={"features": features_input(use_case)},
        checks=check_specs(
            use_case, "model", trainable="Every day of the windows is there, with rows to train on and to hold out."
        ),
    )
    def model(
        context: dg.AssetExecutionContext, features: pl.LazyFrame, lake: Lake, tracking: Tracking
    ) -> Iterator[dg.Output[Any]]:
        cutoffs = partition_keys(context)
        missing = missing_features(use_case, features, cutoffs)
        version = lake.table(asset_key(use_case, "features")).version()
        verdicts, stored, metadata = [], {}, {}
        for cutoff in cutoffs:
            rows = rows_of(use_case, features, cutoff)
            reason = _reason(missing.get(cutoff, []), rows)
            if reason is None:
                try:
                    stored[cutoff] = trained(context, tracking, use_case, rows, version)
                except ValueError as error:
                    reason = str(error)
            verdicts.append(
                Verdict("trainable", cutoff, reason, {"rows": rows.train.height, "hold_out": rows.hold_out.height})
            )
            if cutoff in stored:
                metadata[cutoff] = {
                    "trained_on": rows.trained_on,
                    "rows": rows.train.height,
                    "mlflow_run": stored[cutoff].run_id,
                    "features_version": version,
                }
        yield from conclude(context, spec.key, stored, verdicts, metadata)

    return model


def trained(
    context: dg.AssetExecutionContext,
    tracking: Tracking,
    use_case: UseCase,
    rows: CutoffRows,
    features_version: int,
) -> StoredModel:
    """Train the model of one cutoff in a run of its own."""
    model, columns = use_case.model, feature_columns(use_case, rows.train.columns)
    with tracking.run(context, use_case.name, rows.cutoff) as run:
        run.log_params(
            {
                "estimator": model.estimator,
                "seed": model.seed,
                "trained_on": rows.trained_on,
                "rows": rows.train.height,
                "features": json.dumps(columns),
                "features_version": features_version,
                **{f"params.{name}": value for name, value in model.params.items()},
            }
        )
        pipeline = fit(use_case, rows.train, model.estimator, model.params)
        fitted = TrainedModel(pipeline, use_case.task, columns, run.mlflow_run_id)
        return tracking.store_model(fitted, rows.train.head(EXAMPLE_ROWS))


def _reason(missing: list[str], rows: CutoffRows) -> str | None:
    if missing:
        days = f"{missing[0]} .. {missing[-1]} ({len(missing)})"
        return f"features has no rows for {days}, which the windows need; materialize it first."
    if rows.train.is_empty() or rows.hold_out.is_empty():
        return (
            f"no rows with labels in {rows.trained_on if rows.train.is_empty() else rows.held_out}; use longer windows."
        )
    return None
