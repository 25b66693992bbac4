"""The stage `raw_data`: what the source gave for each partition, as read, with the source's fingerprint."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from ml_platform.io_managers.tables import column_schema
from ml_platform.ml.contract import DTYPES, PARTITION, RESCUED, coerce, missing_columns
from ml_platform.partitions import day_of, windows_of
from ml_platform.references import did_you_mean
from ml_platform.sources import files, python
from ml_platform.sources.delivery import Delivery, Wanted
from ml_platform.stages.attributes import asset_partitions, asset_spec, check_specs, row_count, stage_step
from ml_platform.stages.verdicts import Verdict, conclude, partition_keys
from ml_platform.use_case import Contract, FilesSource, UseCase

DESCRIPTION = """What the source gave for the partition, as read.

Values that do not fit their declared type are kept, as text, in `rescued`."""


def build(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset `raw_data` of a use case."""
    spec = asset_spec(
        use_case,
        "raw_data",
        DESCRIPTION,
        kinds={use_case.source.type if use_case.source.type == "python" else "file", "deltalake"},
        metadata={"dagster/column_schema": column_schema(raw_columns(use_case))},
    )

    @stage_step(
        spec,
        io_manager="tables",
        checks=check_specs(
            use_case, "raw_data", readable="The source could be read, has rows and all columns of the contract."
        ),
    )
    def raw_data(context: dg.AssetExecutionContext) -> Iterator[dg.Output[Any]]:
        definition = asset_partitions(use_case, "raw_data")
        wanted = windows_of(definition, context.partition_keys) if definition else None
        deliveries = {delivery.partition: delivery for delivery in read(use_case, wanted)}
        verdicts = [
            Verdict(
                "readable",
                key,
                problem(deliveries[key], use_case.contract),
                {"fingerprint": deliveries[key].fingerprint},
            )
            for key in partition_keys(context)
        ]
        good = [deliveries[verdict.partition] for verdict in verdicts if verdict.passed]
        frames = [
            labelled(coerce(rows, use_case.contract), one.partition) for one in good if (rows := one.rows) is not None
        ]
        empty = pl.DataFrame(schema=raw_columns(use_case))
        yield from conclude(
            context,
            spec.key,
            pl.concat([empty, *frames]),
            verdicts,
            {one.partition: _metadata(one, use_case.contract) for one in good},
        )

    return raw_data


def read(use_case: UseCase, wanted: Wanted) -> list[Delivery]:
    """Read the use case's source."""
    match use_case.source:
        case FilesSource() as source:
            return files.read(source, use_case, wanted)
        case source:
            return python.read(source, use_case, wanted)


def raw_columns(use_case: UseCase) -> dict[str, pl.DataType]:
    """The columns of raw data: the contract's, `rescued`, and `partition` where there are partitions."""
    columns = {name: DTYPES[column.type] for name, column in use_case.contract.columns.items()}
    return {**columns, RESCUED: pl.String(), **({PARTITION: pl.Date()} if use_case.windows else {})}


def labelled(rows: pl.DataFrame, partition: str | None) -> pl.DataFrame:
    """Rows with the partition they came in."""
    return rows if partition is None else rows.with_columns(pl.lit(day_of(partition)).alias(PARTITION))


def problem(delivery: Delivery, contract: Contract) -> str | None:
    """Why a delivery is no raw data of its partition, or None where it is."""
    if delivery.rows is None:
        return delivery.problem
    if missing := missing_columns(delivery.rows, contract):
        return f"the source has no column '{missing[0]}'; {did_you_mean(missing[0], delivery.rows.columns)}"
    if delivery.rows.is_empty():
        return "the source gave no rows; deliver them, or end the partitions before it."
    return None


def _metadata(delivery: Delivery, contract: Contract) -> dict[str, Any]:
    assert delivery.rows is not None
    left_out = [name for name in delivery.rows.columns if name not in contract.columns]
    return {
        **row_count(delivery.partition, delivery.rows.height),
        "fingerprint": delivery.fingerprint,
        "columns_left_out": left_out,
    }
