"""The stage `features`: the user's transform over whole ranges of partitions and the lookback before them."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import polars as pl

from ml_platform import references
from ml_platform.ml.contract import PARTITION, partition_of
from ml_platform.ml.frames import from_polars, to_polars
from ml_platform.partitions import day_of, lookback_mapping, missing_upstream, span
from ml_platform.references import did_you_mean
from ml_platform.stages.attributes import asset_key, asset_spec, check_specs, row_count, stage_step
from ml_platform.stages.validated_data import rows_by_partition
from ml_platform.stages.verdicts import Verdict, conclude, partition_keys
from ml_platform.use_case import UseCase


def build(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset `features` of a use case."""
    lookback = lookback_mapping(use_case)
    spec = asset_spec(
        use_case, "features", "One row for each validated row, with its features.", kinds={"polars", "deltalake"}
    )

    @stage_step(
        spec,
        io_manager="tables",
        ins={"validated_data": dg.AssetIn(asset_key(use_case, "validated_data"), partition_mapping=lookback)},
        checks=check_specs(
            use_case,
            "features",
            complete="Every day the lookback needs is there, and each validated row has one row of features.",
        ),
    )
    def features(context: dg.AssetExecutionContext, validated_data: pl.LazyFrame) -> Iterator[dg.Output[Any]]:
        keys = partition_keys(context)
        validated = validated_data.collect()
        rows = transformed(use_case, validated)
        if use_case.windows:
            rows = rows.filter(pl.col(PARTITION).is_in([day_of(key) for key in keys if key]))
        expected, given = rows_by_partition(validated), rows_by_partition(rows)
        missing = missing_upstream(spec.partitions_def, keys, spec.partitions_def, lookback, expected)
        verdicts = [
            Verdict("complete", key, _reason(missing.get(key, []), expected.get(key, 0), given.get(key, 0)))
            for key in keys
        ]
        yield from conclude(context, spec.key, rows, verdicts, {key: row_count(key, given.get(key, 0)) for key in keys})

    return features


def transformed(use_case: UseCase, validated: pl.DataFrame) -> pl.DataFrame:
    """The features of validated rows, with their partition.

    Raises:
        ValueError: the transform's result lacks the key, the event time, the label or a declared feature.
    """
    contract, declared = use_case.contract, use_case.features
    rows = validated.drop(PARTITION, strict=False)
    if declared.transform is not None:
        transform = references.load(declared.transform)
        rows = to_polars(
            transform(from_polars(rows.lazy(), wanted_frame(transform), declared.transform)), declared.transform
        )
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


def wanted_frame(transform: Callable[..., Any]) -> type:
    """The type of frame that a transform's first parameter is annotated with; a polars DataFrame where it is not."""
    parameter = next(iter(inspect.signature(transform, eval_str=True).parameters.values()))
    return pl.DataFrame if parameter.annotation is inspect.Parameter.empty else parameter.annotation


def _reason(missing: list[str], validated: int, given: int) -> str | None:
    if missing:
        return f"validated_data has no rows for {span(missing)}, which the features need; materialize it first."
    if given != validated:
        return f"the transform made {given} rows of {validated}; it must return one row for each row given."
    return None
