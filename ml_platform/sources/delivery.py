"""What a source delivers: the rows of a partition as read, or why they could not be read."""

from dataclasses import dataclass

import polars as pl

from ml_platform.ml.splits import Window


@dataclass(frozen=True)
class Delivery:
    """What a source gave for one partition (None without partitions): rows and their fingerprint, or a problem."""

    partition: str | None
    rows: pl.DataFrame | None = None
    fingerprint: str = ""
    problem: str = ""


Wanted = dict[str, Window] | None
"""The partitions to read with their windows of event time; None where the data is not partitioned."""
