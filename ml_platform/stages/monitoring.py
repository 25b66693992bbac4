"""The stage `monitoring`: each partition held to what the version that scored it was trained and judged on."""

from collections.abc import Iterator, Mapping
from math import ceil

from ml_platform.fingerprints import digest, recipe
from ml_platform.io_managers.publishing import Key
from ml_platform.partitions import SHORTEST, around, data_partitions, up_to, windows_of
from ml_platform.stages.attributes import asset_key, asset_spec, check_specs
from ml_platform.stages.chunks import of
from ml_platform.stages.definition import Computed, Keys, Prepared, StageDefinition
from ml_platform.stages.model import PACKAGES
from ml_platform.stages.work import Work
from ml_platform.use_case import Task, UseCase

DEFAULT_METRIC: Mapping[Task, str] = {
    "binary_classification": "roc_auc",
    "multiclass_classification": "log_loss",
    "regression": "mean_absolute_error",
}
RETRAINING = "retraining"
"""The metadata that says whether a model shall be trained: wanted, why, tries."""
NO_DRIFT, PERFORMANCE, HELPS = "no_drift", "performance", "retraining_helps"


def build(use_case: UseCase) -> StageDefinition:
    """The stage `monitoring` of a use case."""
    spec = asset_spec(
        use_case,
        "monitoring",
        "For each column and metric what it is, how far it departed from the rows that the model was trained on, and "
        "how far it may by luck; and the model's performance where the labels have arrived.",
        # not of the partitions before: as for features, a backfill must not ask for those after it
        deps=[asset_key(use_case, "features"), asset_key(use_case, "predictions")],
        kinds={"polars", "deltalake"},
    )
    checks = {
        NO_DRIFT: "Neither features nor scores nor the number of rows have left what they were; a warning.",
        PERFORMANCE: "The model is as good as on its hold-out, where the labels have arrived.",
        HELPS: "Models that were trained because of a drift have ended it.",
    }
    config = {
        "monitoring": use_case.monitoring.model_dump(mode="json"),
        "task": use_case.task,
        "label": use_case.label.model_dump(mode="json"),
        "metrics": metrics_watched(use_case),
    }
    code = ["monitored:judged", "monitored:performances", "profiles:profiles", "retraining:decide"]
    return StageDefinition(
        assets={"monitoring": spec},
        checks=[
            *check_specs(
                use_case, "monitoring", {"monitored": "There are predictions, and what their version was made of."}
            ),
            # what has drifted is recorded all the same
            *check_specs(use_case, "monitoring", checks, blocking=False),
        ],
        recipe=lambda: recipe([f"ml_platform.ml.{one}" for one in code], config, PACKAGES),
        prepare=prepare,
        chunks=of("features"),
        made_of=made_of,
    )


def metrics_watched(use_case: UseCase) -> list[str]:
    """The metrics of the gates, or the task's own where there are none."""
    return list(dict.fromkeys(gate.metric for gate in use_case.gates)) or [DEFAULT_METRIC[use_case.task]]


def made_of(work: Work, keys: Keys) -> Keys:
    """The partitions after these that are averaged with them, and those before whose labels are known by now."""
    use_case = work.use_case
    if use_case.windows is None:
        return []
    waits = ceil(use_case.label.known_after / SHORTEST[use_case.windows.every])
    return around(use_case, keys, before=waits, after=use_case.monitoring.drift.window - 1)


def matured(work: Work, keys: Keys) -> dict[Key, bool]:
    """Whether the labels of partitions are known, by the newest data that has arrived."""
    use_case, definition = work.use_case, data_partitions(work.use_case)
    published = [day for day in work.lake.table(asset_key(use_case, "features")).row_counts() if day is not None]
    if definition is None or not published:
        return dict.fromkeys(keys, True)
    newest = f"{max(published)}"
    windows = windows_of(definition, [newest, *map(str, keys)])
    return {key: windows[str(key)].end + use_case.label.known_after <= windows[newest].end for key in keys}


def prepare(work: Work, keys: Keys) -> Prepared:
    """Look up the features and predictions of partitions and of those before that they are averaged with."""
    use_case = work.use_case
    needed = up_to(use_case, keys, use_case.monitoring.drift.window - 1)
    every = sorted({one for found in needed.values() for one in found}, key=str)
    features, predictions = work.data_versions("features", every), work.data_versions("predictions", every)
    mature, registered = matured(work, every), work.registry.versions(use_case.registry.name)

    def compute(due: Keys) -> Iterator[Computed]:
        from ml_platform.stages.watching import watched

        given = {key: needed[key] for key in due if predictions[key] and features[key]}
        yield watched(work, due, given, mature, registered)

    def inputs(key: Key) -> dict[str, str | None]:
        there = predictions[key] and features[key]
        return {
            "features": digest([features[one] for one in needed[key]]) if there else None,
            "predictions": digest([predictions[one] for one in needed[key]]) if there else None,
            "maturity of the labels": str(mature[key]),
            "registered versions": str(registered[-1].number) if registered else None,
        }

    return Prepared({key: inputs(key) for key in keys}, compute)
