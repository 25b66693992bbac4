"""What a source delivers: the rows of a partition, read when they are wanted, and what tells them from others."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO

import polars as pl

from ml_platform.ml.contract import coerce, partition_of
from ml_platform.ml.splits import Window
from ml_platform.partitions import KEY_FORMAT
from ml_platform.use_case import UseCase

Wanted = dict[str, Window] | None
"""The partitions to read with their windows of event time; None where the data is not partitioned."""


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


def cut(
    rows: pl.DataFrame, use_case: UseCase, wanted: dict[str, Window], undated: str, others: str | None = None
) -> list[Delivery]:
    """Rows of several partitions cut by event time.

    Those without a readable event time belong to the partition `undated`, those of no wanted partition to `others`, or
    to nobody.
    """
    contract, windows = use_case.contract, use_case.windows
    assert windows is not None
    assert contract.event_time is not None
    key = partition_of(contract.event_time, windows.every).dt.to_string(KEY_FORMAT).fill_null(undated)
    if others is not None:
        key = pl.when(key.is_in(list(wanted))).then(key).otherwise(pl.lit(others))
    labelled = rows.hstack(coerce(rows, contract).select(key.alias("__partition")))
    parts = labelled.partition_by("__partition", as_dict=True, include_key=False)
    return [delivered(partition, parts.get((partition,), rows.clear())) for partition in wanted]
