"""Folds inside the training rows: where parameters and thresholds are tried out, without the hold-out."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from ml_platform.ml.labels import labels
from ml_platform.ml.splits import held_out_by_key
from ml_platform.use_case import UseCase

_SALT = "__inside"


@dataclass(frozen=True)
class Fold:
    """Rows to train on and rows to judge on, none of them in both; `name` tells which, such as `fold 2 of 3`."""

    train: pl.DataFrame
    judged: pl.DataFrame
    name: str


def folds_of(use_case: UseCase, train: pl.DataFrame, number: int) -> list[Fold]:
    """A number of folds whose judged rows are part of the training rows, each row judged once at most.

    With partitions, the later half of the rows by event time is cut into blocks of about as many rows each, rows of one
    moment in the same block. A block is judged by a model of all rows that are older than its first by more than one
    label delay, as a model in production is. Without partitions the rows are cut by a hash of the entity or the key
    into `number` parts, two at least; each fold judges one part by a model of the others.

    Raises:
        ValueError: a fold lacks rows, or a class to learn from or to judge on.
    """
    if use_case.windows is None:
        found = _by_key(use_case, train, number)
    else:
        assert use_case.contract.event_time is not None
        found = _by_time(use_case, train, number, use_case.contract.event_time)
    folds = list(found)
    for fold in folds:
        _check(use_case, fold)
    return folds


def held_out_inside(use_case: UseCase, rows: pl.DataFrame, share: float) -> pl.Series:
    """A mask of about `share` of the training rows, an entity whole; it does not depend on what the hold-out took."""
    contract = use_case.contract
    key = contract.key if contract.entity is None else [contract.entity]
    # the plain hash chose the hold-out: of the rows that it left, few or none lie below a second limit
    return held_out_by_key(rows.with_columns(pl.lit("inside").alias(_SALT)), [*key, _SALT], share)


def _by_time(use_case: UseCase, train: pl.DataFrame, number: int, event_time: str) -> Iterator[Fold]:
    later = train.height // 2
    times = train[event_time].sort()[train.height - later :]
    if later < number:
        raise ValueError(
            f"{train.height} training rows are too few for {number} folds; use a longer train_on, or lower "
            "model.search.folds."
        )
    starts = [times[later * index // number] for index in range(number)]
    for index, (start, end) in enumerate(zip(starts, [*starts[1:], None], strict=True)):
        happened = pl.col(event_time)
        yield Fold(
            train.filter(happened < start - use_case.label.known_after),
            train.filter((happened >= start) if end is None else happened.is_between(start, end, closed="left")),
            f"fold {index + 1} of {number} (from {start:%Y-%m-%d %H:%M})",
        )


def _by_key(use_case: UseCase, train: pl.DataFrame, number: int) -> Iterator[Fold]:
    parts = max(number, 2)
    # a greater share takes the same rows and more, so the parts are what each adds
    bounds = [held_out_inside(use_case, train, part / parts) for part in range(number + 1)]
    for index, (before, upto) in enumerate(pairwise(bounds)):
        judged = upto & ~before
        yield Fold(train.filter(~judged), train.filter(judged), f"fold {index + 1} of {number}")


def _check(use_case: UseCase, fold: Fold) -> None:
    remedy = "use more training rows, or lower model.search.folds."
    if fold.train.is_empty():
        raise ValueError(f"{fold.name} has no rows to train on that are one label delay older; {remedy}")
    if fold.judged.is_empty():
        raise ValueError(f"{fold.name} has no rows to judge on; {remedy}")
    if use_case.task == "regression":
        return
    learned, judged = set(labels(fold.train, use_case).tolist()), set(labels(fold.judged, use_case).tolist())
    if len(learned) == 1:
        raise ValueError(f"{fold.name} has only rows of class {learned.pop()!r} to train on; {remedy}")
    if use_case.task == "binary_classification" and len(judged) == 1:
        raise ValueError(f"{fold.name} has only rows of class {judged.pop():g} to judge on; {remedy}")
    if unknown := sorted(judged - learned):
        raise ValueError(f"{fold.name} has the class {unknown[0]!r} to judge on and not to train on; {remedy}")
