"""The source `python`: rows from a function of a window of time."""

from hashlib import sha256

import polars as pl

from ml_platform import references
from ml_platform.ml.contract import coerce, missing_columns, partition_of
from ml_platform.ml.frames import to_polars
from ml_platform.partitions import KEY_FORMAT
from ml_platform.sources.delivery import Delivery, Wanted
from ml_platform.use_case import PythonSource, UseCase


def read(source: PythonSource, use_case: UseCase, wanted: Wanted) -> list[Delivery]:
    """Call the function once for the whole span of the wanted partitions and cut its rows by event time.

    Rows without a readable event time come with the first partition, where the contract sends them to quarantine.
    """
    function, what = references.load(source.function), f"The result of {source.function}"
    named = f"{source.function} {sorted(source.arguments.items())}"
    if wanted is None or use_case.windows is None or use_case.contract.event_time is None:
        return [Delivery(None, to_polars(function(**source.arguments), what), _fingerprint(named))]
    start = min(window.start for window in wanted.values())
    end = max(window.end for window in wanted.values())
    rows = to_polars(function(start, end, **source.arguments), what)
    if missing_columns(rows, use_case.contract):
        return [Delivery(partition, rows, _fingerprint(f"{named} {window}")) for partition, window in wanted.items()]
    first = min(wanted)
    key = partition_of(use_case.contract.event_time, use_case.windows.every).dt.to_string(KEY_FORMAT)
    labelled = rows.hstack(coerce(rows, use_case.contract).select(key.fill_null(first).alias("__partition")))
    strays = pl.col("__partition").is_in(list(wanted)).not_()
    labelled = labelled.with_columns(pl.when(strays).then(pl.lit(first)).otherwise("__partition").alias("__partition"))
    parts = labelled.partition_by("__partition", as_dict=True, include_key=False)
    return [
        Delivery(partition, parts.get((partition,), rows.clear()), _fingerprint(f"{named} {window}"))
        for partition, window in wanted.items()
    ]


def _fingerprint(text: str) -> str:
    return sha256(text.encode()).hexdigest()
