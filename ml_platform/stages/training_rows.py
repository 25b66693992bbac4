"""The rows of features that belong to the model of a cutoff: its training rows, its hold-out, and all known by then."""

from dataclasses import dataclass
from datetime import datetime, time

import dagster as dg
import polars as pl

from ml_platform.io_managers.publishing import Key
from ml_platform.ml.splits import held_out_by_key, windows_before
from ml_platform.partitions import cutoff_mapping, day_of, known_by
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.work import Work
from ml_platform.use_case import UseCase


@dataclass(frozen=True)
class CutoffRows:
    """The rows with labels that the model of a cutoff is trained on, judged on, and could know; with their windows.

    `cutoff` is empty without partitions.
    """

    cutoff: str
    train: pl.DataFrame
    hold_out: pl.DataFrame
    known: pl.DataFrame
    trained_on: str
    held_out: str


def features_dep(use_case: UseCase) -> dg.AssetDep:
    """The features that a model's stages read: of the training window and the hold-out of each cutoff."""
    return dg.AssetDep(asset_key(use_case, "features"), partition_mapping=cutoff_mapping(use_case))


def features_versions(work: Work, cutoff: Key) -> dict[Key, str | None]:
    """The data versions of the features that the model of a cutoff could know, None for those that are not there."""
    return dict(work.data_versions("features", known_by(work.use_case, cutoff)))


def training_rows(work: Work, cutoff: Key) -> CutoffRows:
    """The published rows of one cutoff."""
    return rows_of(work.use_case, work.rows("features", known_by(work.use_case, cutoff)), cutoff)


def rows_of(use_case: UseCase, features: pl.LazyFrame, cutoff: str | None) -> CutoffRows:
    """The rows of one cutoff; without partitions the hold-out is chosen by a hash of the key."""
    labelled = features.filter(pl.col(use_case.label.column).is_not_null())
    if cutoff is None:
        rows = labelled.sort(use_case.contract.key).collect()
        held_out = held_out_by_key(rows, use_case.contract.key, use_case.model.hold_out_share)
        share = use_case.model.hold_out_share
        return CutoffRows(
            "", rows.filter(~held_out), rows.filter(held_out), rows, f"{1 - share:.0%} by key", f"{share:.0%} by key"
        )
    assert use_case.contract.event_time is not None
    windows = windows_before(datetime.combine(day_of(cutoff), time()), use_case.model, use_case.label)
    # in the order of time and key: what is learned must not depend on how the table's files lie
    order = [use_case.contract.event_time, *use_case.contract.key]
    rows = labelled.filter(windows.known.select(use_case.contract.event_time)).sort(order).collect()
    return CutoffRows(
        cutoff,
        rows.filter(windows.train.select(use_case.contract.event_time)),
        rows.filter(windows.hold_out.select(use_case.contract.event_time)),
        rows,
        str(windows.train),
        str(windows.hold_out),
    )
