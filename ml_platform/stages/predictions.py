"""The stage `predictions`: the champion applied to each partition's rows."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from ml_platform.fingerprints import recipe
from ml_platform.io_managers.publishing import Key
from ml_platform.ml.contract import PARTITION
from ml_platform.ml.training import TrainedModel
from ml_platform.resources.registry import Version
from ml_platform.stages import ledger
from ml_platform.stages.attributes import asset_key, asset_spec, check_specs, row_count
from ml_platform.stages.chunks import of
from ml_platform.stages.definition import Computed, Keys, Prepared, StageDefinition, Verdict
from ml_platform.stages.model import PACKAGES, features_version
from ml_platform.stages.opponent import lacking
from ml_platform.stages.validated_data import rows_by_partition
from ml_platform.stages.work import Work
from ml_platform.use_case import UseCase

NO_FEATURES = "there are no features; materialize features first."
INSTEAD = "put a version in its place that does without: ml-platform rollback or promote"


def build(use_case: UseCase) -> StageDefinition:
    """The stage `predictions` of a use case."""
    newest = dg.LastPartitionMapping() if use_case.windows else None
    spec = asset_spec(
        use_case,
        "predictions",
        "The champion's prediction for each row of features, with the versions of model and features.",
        deps=[
            asset_key(use_case, "features"),
            dg.AssetDep(asset_key(use_case, "promotion"), partition_mapping=newest),
        ],
        kinds={"scikitlearn", "deltalake"},
    )
    return StageDefinition(
        assets={"predictions": spec},
        checks=check_specs(
            use_case, "predictions", {"predicted": "Each row of features has a prediction by the champion."}
        ),
        recipe=lambda: recipe([], {"task": use_case.task, "registry": use_case.registry.name}, PACKAGES),
        prepare=prepare,
        chunks=of("features"),
    )


def prepare(work: Work, keys: Keys) -> Prepared:
    """Look up the champion and the features of partitions."""
    use_case, features = work.use_case, work.data_versions("features", keys)
    champion, without = _champion(work)

    def compute(due: Keys) -> Iterator[Computed]:
        rows, counts = pl.DataFrame(), dict[Key, int]()
        problems: dict[Key, str | None] = {key: without or (None if features[key] else NO_FEATURES) for key in due}
        if champion is not None and (given := [key for key in due if problems[key] is None]):
            model = work.tracking.load_model(champion.address)
            who = f"the champion, version {champion.number},"
            written = work.tables.newest_schemas(asset_key(use_case, "features"), given)
            for key, there in written.items():
                problems[key] = lacking(who, model.columns, there, INSTEAD)
            if whole := [key for key in given if problems[key] is None]:
                inputs = work.read("features", whole)
                counts = rows_by_partition(inputs)
                problems.update({key: NO_FEATURES for key in whole if not counts.get(key)})
                rows = predict(use_case, model, champion, inputs, features_version(work))
        verdicts = [Verdict("predicted", key, problem, acceptable=False) for key, problem in problems.items()]
        shown = {"model_version": champion.number, "model_cutoff": champion.cutoff} if champion else {}
        yield Computed(
            "predictions", rows, {key: {**row_count(key, counts.get(key, 0)), **shown} for key in due}, verdicts
        )

    version = data_version_of(use_case, champion.number, champion.run_id) if champion else None
    return Prepared({key: {"champion": version, "features": features[key]} for key in keys}, compute)


def data_version_of(use_case: UseCase, number: int, run_id: str | None) -> str:
    """A version as what predictions are made of, with its model's run: its number may recur in another registry."""
    return f"{use_case.registry.name} {number} of {run_id}"


def predict(
    use_case: UseCase, model: TrainedModel, champion: Version, features: pl.DataFrame, features_version: int
) -> pl.DataFrame:
    """A prediction for each row: its key and time, the score, and what it was made of.

    `prediction` is the score of the positive class or the value; with more than two classes it is the likeliest class
    and `scores` has the score of each. `decision` says whether a score reaches the model's threshold.
    """
    contract = use_case.contract
    scores = model.predict(features)
    if use_case.task == "multiclass_classification":
        likeliest = model.pipeline.classes_[scores.argmax(axis=1)]
        columns = [pl.Series("prediction", likeliest), pl.Series("scores", scores.tolist())]
    else:
        columns = [pl.Series("prediction", scores)]
        if model.threshold is not None:
            columns.append(pl.Series("decision", scores >= model.threshold))
    rows = features.select(*contract.identity, *([PARTITION] if use_case.windows else [])).with_columns(
        *columns, pl.lit(champion.number).alias("model_version"), pl.lit(features_version).alias("features_version")
    )
    name = f"{champion.name}-{champion.number}"
    return rows.with_columns(pl.concat_str(pl.lit(name), *contract.key, separator="-").alias("prediction_id"))


def _champion(work: Work) -> tuple[Version | None, str | None]:
    """The champion of MLflow and ledger, or why there is none."""
    name = work.use_case.registry.name
    try:
        book, champion, *_ = ledger.settled(work)
    except ledger.LedgerError as error:
        return None, str(error)
    if champion is not None:
        return champion, None
    if book.last is None:
        return None, f"{name} has no champion: no model has passed its gates yet; look at promotion."
    return None, (
        f"{name} has no champion any more: {book.last.why}; put one in its place: ml-platform promote or rollback, or "
        "train again."
    )
