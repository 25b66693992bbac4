"""What a source delivers: the rows of a partition, read when they are wanted, and what tells them from others."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO

import dagster as dg
import polars as pl

from ml_platform.ml.contract import coerce, missing_columns, partition_of
from ml_platform.ml.splits import Window
from ml_platform.partitions import KEY_FORMAT
from ml_platform.use_case import UseCase

Wanted = dict[str, Window] | None
"""The partitions to read with their windows of event time; None where the data is not partitioned."""


@dataclass(frozen=True)
class Session:
    """What sources are read with, in a step of a run or by who asks about one.

    `instance` knows what was materialized, only a step can load the value of an asset. `wholes` keeps the parts of what
    holds several partitions and is read but once, whatever the number of chunks.
    """

    instance: dg.DagsterInstance | None = None
    step: dg.AssetExecutionContext | None = None
    wholes: dict[str, Mapping[str, pl.DataFrame]] = field(default_factory=dict)


class NotDeliveredError(Exception):
    """Why a source has no rows of a partition, and what to do."""


@dataclass(frozen=True)
class Delivery:
    """What a source has for one partition (None without partitions).

    `fingerprint` changes when the rows do; `load` reads them and raises NotDeliveredError where that is impossible.
    """

    partition: str | None
    fingerprint: str
    load: Callable[[], pl.DataFrame]


def delivered(partition: str | None, rows: pl.DataFrame) -> Delivery:
    """Rows that are read already, told apart by what is in them."""
    stored = BytesIO()
    # not Arrow's own format, which keeps what lies in memory under missing values
    rows.rechunk().write_parquet(stored, compression="uncompressed", statistics=False)
    return Delivery(partition, sha256(stored.getbuffer()).hexdigest(), lambda: rows)


def undelivered(partition: str | None, problem: str, fingerprint: str = "") -> Delivery:
    """A partition without rows."""

    def load() -> pl.DataFrame:
        raise NotDeliveredError(problem)

    return Delivery(partition, fingerprint, load)


def by_partition(
    rows: pl.DataFrame, use_case: UseCase, wanted: Iterable[str], undated: str, others: str | None = None
) -> dict[str, pl.DataFrame]:
    """Rows cut by event time, those of each wanted partition.

    Those without a readable event time belong to the partition `undated`, those of no wanted partition to `others`, or
    to nobody. Rows that have not all columns of the contract are not cut: each partition gets them, to say so.
    """
    contract, windows = use_case.contract, use_case.windows
    if missing_columns(rows, contract):
        return dict.fromkeys(wanted, rows)
    assert windows is not None
    assert contract.event_time is not None
    key = partition_of(contract.event_time, windows.every).dt.to_string(KEY_FORMAT).fill_null(undated)
    if others is not None:
        key = pl.when(key.is_in(list(wanted))).then(key).otherwise(pl.lit(others))
    labelled = rows.hstack(coerce(rows, contract).select(key.alias("__partition")))
    parts = labelled.partition_by("__partition", as_dict=True, include_key=False)
    return {partition: parts.get((partition,), rows.clear()) for partition in wanted}


def concatenated(frames: Sequence[pl.DataFrame], what: str) -> pl.DataFrame:
    """The rows of frames, with the columns of all; those whose types differ are text.

    A common type of numbers would round some of them.

    Raises:
        NotDeliveredError: they do not fit together; `what` names them.
    """
    if len(frames) == 1:
        return frames[0]
    types: dict[str, set[pl.DataType]] = {}
    for frame in frames:
        for name, dtype in frame.schema.items():
            types.setdefault(name, set()).add(dtype)
    differing = {name for name, found in types.items() if len(found - {pl.Null()}) > 1}
    try:
        alike = [frame.with_columns(pl.col(differing & set(frame.columns)).cast(pl.String)) for frame in frames]
        return pl.concat(alike, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise NotDeliveredError(f"{what} do not fit together: {error}.") from error
