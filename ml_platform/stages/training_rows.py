"""The rows of features that belong to the model of a cutoff: its training rows, its hold-out, and all known by then."""

from dataclasses import dataclass
from datetime import datetime, time
from typing import Literal

import dagster as dg
import polars as pl

from ml_platform.io_managers.publishing import Key
from ml_platform.ml.splits import Window, held_out_by_key, windows_before
from ml_platform.partitions import cutoff_mapping, day_of, known_by, overlapping
from ml_platform.references import did_you_mean
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.work import Work
from ml_platform.use_case import Stage, UseCase

Part = Literal["train", "hold_out", "known"]


@dataclass(frozen=True)
class Split:
    """How the labelled rows known at a cutoff fall into those to train on and those to judge on.

    Without partitions `windows` is empty: a hash of the key, or of the entity, decides.
    """

    use_case: UseCase
    cutoff: Key
    windows: dict[Part, Window]

    def __getitem__(self, part: Part) -> str:
        """The rows of a part in words: their first and last day, or their share."""
        if self.windows:
            return str(self.windows[part])
        share = {"hold_out": (held := self.use_case.model.hold_out_share), "train": 1 - held, "known": 1.0}[part]
        return f"{share:.0%} by {', '.join(held_out_by(self.use_case))}"


def split(use_case: UseCase, cutoff: Key) -> Split:
    """The split of a cutoff."""
    if cutoff is None:
        return Split(use_case, cutoff, {})
    windows = windows_before(datetime.combine(day_of(cutoff), time()), use_case.model, use_case.label)
    return Split(use_case, cutoff, {"train": windows.train, "hold_out": windows.hold_out, "known": windows.known})


def held_out_by(use_case: UseCase) -> list[str]:
    """The columns whose hash says whether a row without event time is held out."""
    return [use_case.contract.entity] if use_case.contract.entity else use_case.contract.key


def features_dep(use_case: UseCase, stage: Stage = "features") -> dg.AssetDep:
    """The rows that a model's stages read of another stage: of the training window and the hold-out of each cutoff."""
    return dg.AssetDep(asset_key(use_case, stage), partition_mapping=cutoff_mapping(use_case))


def features_versions(work: Work, cutoff: Key) -> dict[Key, str | None]:
    """The data versions of the features that the model of a cutoff could know, None for those that are not there."""
    return dict(work.data_versions("features", known_by(work.use_case, cutoff)))


def labelled_rows(work: Work, cutoff: Key, part: Part, version: int | None = None) -> pl.DataFrame:
    """The published rows of a part with their labels, in the order of time and key; no file of another part is opened.

    Rows to train on have no columns without any value: what the transform gives no more stays in the table like that.
    Without partitions the entity is among the columns, which cuts the rows; it is no feature.

    `version` is the commit of the features table to read, by default the newest.
    """
    contract, window = work.use_case.contract, split(work.use_case, cutoff).windows.get(part)
    keys = overlapping(work.use_case, window) if window else [None]
    rows = work.rows("features", keys, version).filter(pl.col(work.use_case.label.column).is_not_null())
    # what is learned must not depend on how the table's files lie
    order = [*([contract.event_time] if window and contract.event_time else []), *contract.key]
    if window:
        assert contract.event_time is not None
        return _with_values(
            work.use_case, part, work.meter.read(rows.filter(window.select(contract.event_time)).sort(order).collect())
        )
    known = work.meter.read(rows.sort(order).collect())
    if contract.entity and contract.entity not in known.columns:
        known = known.hstack(with_columns(work, cutoff, known, [contract.entity]))
    if part == "known":
        return _with_values(work.use_case, part, known)
    held_out = held_out_by_key(known, held_out_by(work.use_case), work.use_case.model.hold_out_share)
    return _with_values(work.use_case, part, known.filter(held_out if part == "hold_out" else ~held_out))


def _with_values(use_case: UseCase, part: Part, rows: pl.DataFrame) -> pl.DataFrame:
    declared = {*use_case.contract.identity, use_case.label.column, *(use_case.features.columns or ())}
    empty = [name for name in rows.columns if name not in declared and rows[name].null_count() == rows.height]
    return rows if part == "hold_out" or rows.is_empty() else rows.drop(empty)


def with_columns(work: Work, cutoff: Key, rows: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """These columns for rows of features, in their order: from the features, or else from the validated rows.

    Raises:
        ValueError: neither has such a column.
    """
    contract = work.use_case.contract
    elsewhere = [name for name in names if name not in rows.columns]
    if not elsewhere:
        return rows.select(names)
    for name in elsewhere:
        if name not in contract.columns:
            known = list(dict.fromkeys([*contract.columns, *rows.columns]))
            raise ValueError(f"there is no column '{name}' in contract or features; {did_you_mean(name, known)}")
    identity = contract.identity
    validated = work.rows("validated_data", known_by(work.use_case, cutoff)).select(*identity, *elsewhere).collect()
    return rows.join(validated, on=identity, how="left", maintain_order="left", validate="m:1").select(names)
