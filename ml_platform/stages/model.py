"""The stage `model`: one fitted scikit-learn pipeline for each training cutoff, tracked in MLflow."""

import json
from collections.abc import Iterator
from typing import Any

from ml_platform.fingerprints import digest, recipe
from ml_platform.ml.training import TrainedModel, feature_columns, fit
from ml_platform.partitions import span
from ml_platform.resources.tracking import REQUIREMENTS, StoredModel
from ml_platform.stages.attributes import asset_key, asset_spec, check_specs
from ml_platform.stages.chunks import one_by_one
from ml_platform.stages.definition import Computed, Keys, Prepared, StageDefinition, Verdict
from ml_platform.stages.training_rows import CutoffRows, features_dep, features_versions, training_rows
from ml_platform.stages.work import Work
from ml_platform.use_case import UseCase

PACKAGES = ["polars", *REQUIREMENTS]
EXAMPLE_ROWS = 5


def build(use_case: UseCase) -> StageDefinition:
    """The stage `model` of a use case."""
    spec = asset_spec(
        use_case,
        "model",
        f"`{use_case.model.estimator}`, trained only on rows whose label was known by the cutoff.",
        deps=[features_dep(use_case)],
        kinds={"scikitlearn", "mlflow"},
    )
    return StageDefinition(
        assets={"model": spec},
        checks=check_specs(
            use_case,
            "model",
            {"trainable": "Every day of the windows is there, with rows to train on and to hold out."},
        ),
        recipe=lambda: recipe(
            [use_case.model.estimator, "ml_platform.ml.training:fit"], training_config(use_case), PACKAGES
        ),
        prepare=prepare,
        chunks=one_by_one,
    )


def training_config(use_case: UseCase) -> dict[str, Any]:
    """The part of the YAML file that a fitted model depends on."""
    model = use_case.model.model_dump(mode="json", exclude={"every", "weekday", "threshold", "refit"})
    contract = use_case.contract
    return {
        "task": use_case.task,
        "model": model,
        "label": use_case.label.model_dump(mode="json"),
        "columns": use_case.features.columns,
        "key": contract.key,
        "event_time": contract.event_time,
    }


def prepare(work: Work, keys: Keys) -> Prepared:
    """Look up the features of cutoffs."""
    versions = {cutoff: features_versions(work, cutoff) for cutoff in keys}

    def compute(due: Keys) -> Iterator[Computed]:
        for cutoff in due:
            missing = [str(key) for key, version in versions[cutoff].items() if version is None]
            if len(missing) == len(versions[cutoff]):
                yield Computed("model", {}, {}, [Verdict("trainable", cutoff, _missing(missing), acceptable=False)])
                continue
            rows, table_version = training_rows(work, cutoff), features_version(work)
            reason = _reason(missing, rows)
            counts = {"rows": rows.train.height, "hold_out": rows.hold_out.height}
            value, metadata = {}, {}
            if reason is None:
                try:
                    stored = trained(work, rows, table_version)
                except ValueError as error:
                    reason = str(error)
                else:
                    value[cutoff] = stored
                    metadata[cutoff] = {
                        "trained_on": rows.trained_on,
                        "rows": rows.train.height,
                        "mlflow_run": stored.run_id,
                        "features_version": table_version,
                    }
            yield Computed("model", value, metadata, [Verdict("trainable", cutoff, reason, counts, acceptable=False)])

    made_of = {
        cutoff: digest(list(found.values())) if any(found.values()) else None for cutoff, found in versions.items()
    }
    return Prepared({cutoff: {"features": version} for cutoff, version in made_of.items()}, compute)


def features_version(work: Work) -> int:
    """The number of the features table's newest commit."""
    return work.lake.table(asset_key(work.use_case, "features")).version()


def trained(work: Work, rows: CutoffRows, features_version: int) -> StoredModel:
    """Train the model of one cutoff in a run of its own."""
    use_case, tracking = work.use_case, work.tracking
    model, columns = use_case.model, feature_columns(use_case, rows.train.columns)
    with tracking.run(work.step, use_case.name, rows.cutoff) as run:
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
        return _missing(missing)
    if rows.train.is_empty() or rows.hold_out.is_empty():
        return (
            f"no rows with labels in {rows.trained_on if rows.train.is_empty() else rows.held_out}; use longer windows."
        )
    return None


def _missing(days: list[str]) -> str:
    if days == ["None"]:
        return "there are no features; materialize features first."
    return f"features has no rows for {span(days)}, which the windows need; materialize it first."
