"""The features of validated rows: what the user's transform makes of them, and of its inputs."""

from collections.abc import Mapping

import polars as pl

from ml_platform import references
from ml_platform.ml.contract import PARTITION, partition_of
from ml_platform.ml.frames import from_polars, to_polars, wanted_frame
from ml_platform.references import did_you_mean
from ml_platform.use_case import UseCase


def transformed(use_case: UseCase, validated: pl.DataFrame, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The features of validated rows, with their partition; `inputs` are the declared tables by their names.

    Raises:
        ValueError: the transform's result lacks the key, the event time, the label or a declared feature.
    """
    contract, declared = use_case.contract, use_case.features
    rows = validated.drop(PARTITION, strict=False)
    if declared.transform is not None:
        transform = references.load(declared.transform)
        wanted = wanted_frame(transform)
        more = {name: from_polars(table.lazy(), wanted, declared.transform) for name, table in inputs.items()}
        given = from_polars(rows.lazy(), wanted, declared.transform)
        rows = to_polars(transform(given, **more), declared.transform)
    needed = [*contract.key, *([contract.event_time] if contract.event_time else []), use_case.label.column]
    for name in [*needed, *(declared.columns or [])]:
        if name not in rows.columns:
            giver = declared.transform or "the validated data"
            raise ValueError(f"{giver} gives no column '{name}'; {did_you_mean(name, rows.columns)}")
    if declared.columns is not None:
        rows = rows.select(*dict.fromkeys([*needed, *declared.columns]))
    if use_case.windows is None or contract.event_time is None:
        return rows
    return rows.with_columns(partition_of(contract.event_time, use_case.windows.every))
