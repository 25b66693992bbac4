"""What a version of the model was made of and judged on, as numbers by partition: what its predictions are held to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import polars as pl
from pydantic import ValidationError

from ml_platform.errors import UserError
from ml_platform.io_managers.publishing import Key
from ml_platform.ml.contract import PARTITION
from ml_platform.ml.splits import Window
from ml_platform.ml.training import TrainedModel
from ml_platform.partitions import SHORTEST, day_of, overlapping
from ml_platform.resources.registry import Version
from ml_platform.resources.tracking import MODEL_TAG
from ml_platform.stages.model import FEATURES_TAG
from ml_platform.stages.opponent import unseen
from ml_platform.stages.training_rows import labelled_rows, split
from ml_platform.stages.work import Work
from ml_platform.use_case import Cadence, UseCase

USUAL_OF = 21
"""The least number of partitions, up to the end of the hold-out, that say how much days differ."""
SCORED_ROWS = 100_000
BLOCKS = [date(1970, 1, 1) + timedelta(days=number) for number in range(20)]
"""What stands for partitions where there are none: rows are dealt into blocks in turn."""


@dataclass(frozen=True)
class Reference:
    """The rows that a version is held to, at the commit of the features that it was trained on.

    `data` has the features of labelled rows of `partitions`, of which the model was trained on `trained`; `unseen` is a
    sample of those that it was not trained on, `all_rows` counts them all. `model` is the one that was judged.
    """

    model: TrainedModel
    partitions: list[date]
    trained: set[date]
    data: pl.LazyFrame
    all_rows: pl.LazyFrame
    unseen: pl.DataFrame


def reference(work: Work, version: Version) -> Reference:
    """The reference of a version.

    Raises:
        UserError: it was not trained here, its use case is refused now, or the features of then are gone.
    """
    from deltalake.exceptions import DeltaError

    run = work.tracking.run_of(version.judged_run_id)
    if FEATURES_TAG not in run.tags or MODEL_TAG not in run.tags:
        raise UserError(
            f"version {version.number} was put into MLflow by hand, and nothing says what it was trained on; put "
            "another one in its place: ml-platform promote or rollback."
        )
    commit = int(run.tags[FEATURES_TAG])
    model = work.tracking.load_model(run.tags[MODEL_TAG])
    then = replace(work, use_case=use_case_of(work, run.run_id)[0])
    if _cadence(then.use_case) != _cadence(work.use_case):
        raise UserError(
            f"version {version.number} was trained on partitions of another length; train and promote another one."
        )
    try:
        return _read(then, version, commit, model)
    except (OSError, DeltaError, pl.exceptions.PolarsError) as error:
        raise UserError(
            f"the features that version {version.number} was trained on, commit {commit}, cannot be read: {error}; "
            "train and promote another one."
        ) from error


def use_case_of(work: Work, run_id: str) -> tuple[UseCase, dict[str, Any]]:
    """The use case that the model of a run was trained for, and as it was written.

    Raises:
        UserError: it is none that this version of the platform takes.
    """
    written = work.tracking.read_json(run_id, "use_case.json")
    try:
        return UseCase.model_validate(written), written
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "use case"
        raise UserError(
            f"use_case.json of run {run_id} is refused by this version of the platform: {where}: "
            f"{first['msg'].rstrip('.')}; train again, restore the file, or go back to the version that wrote it."
        ) from error


def _read(then: Work, version: Version, commit: int, model: TrainedModel) -> Reference:
    use_case, windows = then.use_case, split(then.use_case, version.cutoff or None).windows
    if use_case.windows is None:
        seen = in_blocks(labelled_rows(then, None, "train", commit)).lazy()
        held_out = in_blocks(labelled_rows(then, None, "hold_out", commit))
        return Reference(model, BLOCKS, set(BLOCKS), seen, seen, held_out)
    train, hold_out = windows["train"], windows["hold_out"]
    earliest = hold_out.end - USUAL_OF * SHORTEST[use_case.windows.every]
    keys = overlapping(use_case, Window(min(train.start, earliest), hold_out.end))
    trained = set(overlapping(use_case, train))
    rows = then.rows("features", keys, commit)
    labelled = rows.filter(pl.col(use_case.label.column).is_not_null())
    others = [key for key in keys if key not in trained]
    counts = labelled.filter(pl.col(PARTITION).is_in(_days(others)))
    sampled = counts.select(PARTITION, use_case.label.column, *model.columns).filter(
        pl.int_range(pl.len()).over(PARTITION) % _every(counts) == 0
    )
    return Reference(model, _days(keys), set(_days(trained)), labelled, rows, sampled.collect())


def in_blocks(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows without partitions, dealt into blocks in turn."""
    days = pl.lit(BLOCKS[0]) + pl.duration(days=pl.int_range(pl.len()) % len(BLOCKS))
    return rows.with_columns(days.cast(pl.Date).alias(PARTITION))


def _cadence(use_case: UseCase) -> Cadence | None:
    return use_case.windows.every if use_case.windows else None


def _days(keys: Iterable[Key]) -> list[date]:
    return [day_of(str(key)) for key in keys]


def _every(rows: pl.LazyFrame) -> int:
    """Each how many-th row is scored."""
    count: int = rows.select(pl.len()).collect().item()
    return max(1, -(-count // SCORED_ROWS))


@dataclass(frozen=True)
class Now:
    """Consecutive partitions as they are: `rows` of features, and those that a version has `scored` but not seen.

    `labelled` has the share of the rows of each that have a label.
    """

    partitions: list[date]
    rows: pl.LazyFrame
    scored: pl.DataFrame
    labelled: pl.DataFrame


def as_they_are(work: Work, version: Version, keys: Sequence[Key]) -> Now:
    """Consecutive partitions next to what a version has scored of them."""
    use_case = work.use_case
    label, identity = use_case.label.column, use_case.contract.identity
    rows, predicted = work.rows("features", keys), work.rows("predictions", keys)
    own = predicted.filter(pl.col("model_version") == version.number).collect()
    own = own.filter(unseen(work, version.tags, None, own))
    if use_case.windows is None:
        rows, own = in_blocks(rows.collect()).lazy(), in_blocks(own)
    labels = rows.select(*identity, label).collect()
    scored = own.join(labels, on=identity, how="left", maintain_order="left", validate="m:1")
    share = rows.group_by(PARTITION).agg(pl.col(label).is_not_null().mean().alias("labelled")).collect()
    days = BLOCKS if use_case.windows is None else _days(keys)
    columns = [PARTITION, label, "prediction", *(["scores"] if "scores" in own.columns else [])]
    return Now(days, rows, scored.select(columns), share)
