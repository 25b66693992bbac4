"""The stage `model`: one fitted scikit-learn pipeline for each training cutoff, tracked in MLflow."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import polars as pl

from ml_platform.fingerprints import Recipe, digest, recipe
from ml_platform.io_managers.publishing import Key
from ml_platform.ml.contract import PARTITION
from ml_platform.ml.labels import labels
from ml_platform.ml.preprocessing import left_out
from ml_platform.ml.training import TrainedModel, feature_columns, rows_hash
from ml_platform.partitions import looked_at, span
from ml_platform.resources.registry import StoredModel
from ml_platform.resources.tracking import REQUIREMENTS
from ml_platform.sources.delivery import NotDeliveredError
from ml_platform.stages import last_good
from ml_platform.stages.attributes import asset_key, asset_spec, check_specs
from ml_platform.stages.chunks import one_by_one
from ml_platform.stages.definition import FOLLOWS, Computed, Keys, Prepared, StageDefinition, Verdict
from ml_platform.stages.failures import failure_class
from ml_platform.stages.features import deliveries, loaded
from ml_platform.stages.fitting import Fitted, fitted, kept
from ml_platform.stages.surroundings import surroundings
from ml_platform.stages.training_rows import Part, Split, features_dep, features_versions, labelled_rows, split
from ml_platform.stages.work import Work
from ml_platform.use_case import FailureClass, ThresholdRule, UseCase

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKAGES = ["polars", *REQUIREMENTS]
EXAMPLE_ROWS = 5
RECIPE_TAG, FEATURES_TAG = "recipe", "features_version"
PREDICTIONS_TAG, HOLD_OUT_TAG = "predictions_hash", "hold_out_features_version"
TRAINING_ROWS_TAG, HOLD_OUT_ROWS_TAG = "training_rows_hash", "hold_out_rows_hash"


def build(use_case: UseCase) -> StageDefinition:
    """The stage `model` of a use case."""
    spec = asset_spec(
        use_case,
        "model",
        f"`{use_case.estimator}`, trained only on rows whose label was known by the cutoff.",
        deps=[
            features_dep(use_case),
            *(
                [features_dep(use_case, "validated_data")]
                if use_case.features.transform or use_case.contract.entity
                else []
            ),
        ],
        kinds={"scikitlearn", "mlflow"},
    )
    return StageDefinition(
        assets={"model": spec},
        checks=check_specs(
            use_case,
            "model",
            {
                "trainable": "Every day of the windows is there, with rows to train on.",
                "leakage": "No feature gives the label away.",
                "parity": "In a fresh process the stored model gives the scores of training, from raw rows too.",
            },
        ),
        recipe=lambda: recipe_of(use_case),
        prepare=prepare,
        chunks=one_by_one,
    )


def recipe_of(use_case: UseCase) -> Recipe:
    """How a model is made of its features."""
    code = ["training:fit", "leakage:leaks_in", *(["search:search"] if use_case.model.search else [])]
    if isinstance(use_case.model.threshold, ThresholdRule):
        code.append("thresholds:threshold_of")
    reached = [use_case.estimator, *(f"ml_platform.ml.{one}" for one in code)]
    return recipe(reached, training_config(use_case), PACKAGES)


def training_config(use_case: UseCase) -> dict[str, Any]:
    """The part of the YAML file that a fitted model depends on."""
    declared = use_case.model.model_dump(mode="json", exclude={"every", "weekday", "refit"})
    contract = use_case.contract
    return {
        "task": use_case.task,
        "model": {**declared, "estimator": use_case.estimator, "params": use_case.params},
        "label": use_case.label.model_dump(mode="json"),
        "columns": use_case.features.columns,
        "key": contract.key,
        "event_time": contract.event_time,
        "entity": contract.entity,
    }


def prepare(work: Work, keys: Keys) -> Prepared:
    """Look up the features of cutoffs."""
    versions = {cutoff: features_versions(work, cutoff) for cutoff in keys}
    made_of = {
        cutoff: digest(list(found.values())) if any(found.values()) else None for cutoff, found in versions.items()
    }

    def compute(due: Keys) -> Iterator[Computed]:
        made_by = recipe_of(work.use_case).digest
        for cutoff in due:
            missing = [str(key) for key, version in versions[cutoff].items() if version is None]
            if missing:
                verdict = Verdict("trainable", cutoff, _missing(missing), {FOLLOWS: "features"}, acceptable=False)
                yield Computed("model", {}, {}, [verdict])
            else:
                work.scoring.begin()
                yield _computed(work, cutoff, digest([made_by, made_of[cutoff]]))

    return Prepared({cutoff: {"features": version} for cutoff, version in made_of.items()}, compute)


def _computed(work: Work, cutoff: Key, version: str) -> Computed:
    """The model of a cutoff, with what is said of it before it is trained and after."""
    from ml_platform.ml.leakage import leaks_in, told

    use_case, commit, where = work.use_case, features_version(work), split(work.use_case, cutoff)
    train = labelled_rows(work, cutoff, "train", commit)
    if train.is_empty():
        reason = no_rows(where, "train")
        return Computed("model", {}, {}, [Verdict("trainable", cutoff, reason, acceptable=False)])
    try:
        labels(train, use_case)
    except ValueError as error:
        return Computed("model", {}, {}, [Verdict("trainable", cutoff, str(error), acceptable=False)])
    leaks = leaks_in(use_case, train)
    leakage = Verdict("leakage", cutoff, told(leaks) if leaks else None, {"rows": train.height})
    if leaks and cutoff not in work.accepted("model"):
        return Computed("model", {}, {}, [Verdict("trainable", cutoff), leakage])
    try:
        model = fitted(work, train, version, cutoff)
        columns = feature_columns(use_case, train.columns)
        stored = kept(work, model, version, lambda: logged(work, where, model, columns, train, commit))
    except ValueError as error:
        kind: FailureClass = "transient" if failure_class(error) == "transient" else "data"
        refusal = Verdict("trainable", cutoff, str(error), acceptable=False, failure_class=kind)
        return Computed("model", {}, {}, [refusal, leakage])
    problem = parity_problem(work, train, model.model(work, columns, stored.run_id), stored)
    parity = Verdict("parity", cutoff, problem, acceptable=False)
    shown = {
        "trained_on": where["train"],
        "rows": train.height,
        "mlflow_run": stored.run_id,
        "features_version": commit,
        "seconds": model.ended - model.began,
        **last_good.among(work, cutoff),
        **({"threshold": model.threshold} if model.threshold is not None else {}),
        **({"left_out": left} if (left := left_out(model.pipeline)) else {}),
    }
    return Computed("model", {cutoff: stored}, {cutoff: shown}, [Verdict("trainable", cutoff), leakage, parity])


def no_rows(where: Split, part: Part) -> str:
    """That a part of the split has no row with a label, and what to do, as a sentence."""
    advice = "use longer windows"
    if not where.windows:
        of = "entities" if where.use_case.contract.entity else "rows"
        advice = f"deliver labels of more {of}, or {'lower' if part == 'train' else 'raise'} model.hold_out_share"
    return f"no rows with labels in {where[part]}; {advice}."


def parity_problem(work: Work, train: pl.DataFrame, model: TrainedModel, stored: StoredModel) -> str | None:
    """How the stored model differs in a fresh process from the one that was trained, or None.

    The run of one that differs is FAILED in MLflow, and says so.
    """
    problem = _difference(work, train, model, stored)
    if problem is not None:
        work.tracking.refuse(stored.run_id, problem)
    return problem


def _difference(work: Work, train: pl.DataFrame, model: TrainedModel, stored: StoredModel) -> str | None:
    from ml_platform.ml.parity import MOST_ROWS, RawRows, sample

    use_case = work.use_case
    needed: Keys = [None]
    # up to the middle, of one partition if there are any: what comes after is left out when features are made again
    if use_case.windows is None:
        at = use_case.contract.event_time
        rows = sample(train if at is None else train.sort(at).head(-(-train.height // 2)))
    else:
        last = train.filter(pl.col(PARTITION) == pl.col(PARTITION).max())
        rows = last.head(-(-last.height // 2)).tail(MOST_ROWS)
        needed = looked_at(use_case, [f"{rows[PARTITION][0]}"])[f"{rows[PARTITION][0]}"]
    raw = None
    if use_case.features.transform:
        try:
            inputs = loaded(deliveries(use_case))
        except NotDeliveredError as error:
            return str(error)
        raw = RawRows(use_case, work.rows("validated_data", needed).collect(), inputs)
    with work.tracking.downloaded(stored.address) as folder:
        return work.scoring.check(folder, rows, model.predict(rows), raw)


def features_version(work: Work) -> int:
    """The number of the features table's newest commit."""
    return work.lake.table(asset_key(work.use_case, "features")).version()


def logged(
    work: Work, where: Split, model: Fitted, columns: tuple[str, ...], train: pl.DataFrame, commit: int
) -> StoredModel:
    """The model in the tracking server, in a run of its own, with all that it was made of."""
    use_case, tracking, cutoff = work.use_case, work.tracking, where.cutoff or ""
    tracking.end_unfinished(use_case.name, work.instance)
    with tracking.run(work.run, use_case.name, cutoff, began=model.began) as run:
        run.log_params(
            {
                "estimator": use_case.estimator,
                "seed": use_case.model.seed,
                "trained_on": where["train"],
                "rows": train.height,
                "features": json.dumps(columns),
                **({"left_out": json.dumps(left)} if (left := left_out(model.pipeline)) else {}),
                "features_version": commit,
                **({"threshold": model.threshold} if model.threshold is not None else {}),
                **{f"params.{name}": value for name, value in model.params.items()},
            }
        )
        run.log_dict(use_case.model_dump(mode="json"), "use_case.json")
        run.set_tags(run_tags(work, commit, rows_hash(use_case, train, columns)))
        for trial in model.trials:
            tracking.log_trial(run.mlflow_run_id, use_case.name, **trial, dagster_run=work.run.run.run_id)
        return tracking.store_model(model.model(work, columns, run.mlflow_run_id), train.head(EXAMPLE_ROWS))


def run_tags(work: Work, commit: int, rows: str) -> dict[str, str]:
    """What a run says of what its model is made of: how, where, of which commit of the features, the rows' hash."""
    made_of = {RECIPE_TAG: recipe_of(work.use_case).digest, FEATURES_TAG: str(commit), TRAINING_ROWS_TAG: rows}
    return {**made_of, **surroundings()}


def prediction_tags(scores: "NDArray[np.float64]", commit: int, rows: str) -> dict[str, str]:
    """What a run says of its model's predictions on the hold-out: its commit of the features, and its rows' hash."""
    from ml_platform.ml.evaluation import prediction_hash

    return {PREDICTIONS_TAG: prediction_hash(scores), HOLD_OUT_TAG: str(commit), HOLD_OUT_ROWS_TAG: rows}


def _missing(days: list[str]) -> str:
    if days == ["None"]:
        return "there are no features; materialize features first."
    return f"features has no rows for {span(days)}, which the windows need; materialize it first."
