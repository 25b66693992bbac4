"""The I/O manager of tables: dataframes of any of four types in Delta Lake, a range of partitions in one commit."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import polars as pl

from ml_platform.io_managers.columns import conformed
from ml_platform.io_managers.publishing import Audited, Metadata, partitions_of, publish
from ml_platform.ml.contract import PARTITION
from ml_platform.ml.frames import from_polars, to_polars
from ml_platform.partitions import day_of
from ml_platform.resources.lake import Lake, Table

PREVIEW_ROWS = 5


class TableIOManager(dg.ConfigurableIOManager):
    """Stores what an asset returns as its Delta table and gives what the next asset's annotation asks for."""

    lake: dg.ResourceDependency[Lake]

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Replace the partitions that passed their checks.

        Raises:
            TypeError: the value is no dataframe, or its columns are not those declared or stored.
            dagster.Failure: at least one partition was refused.
        """
        audited = obj if isinstance(obj, Audited) else Audited(obj)
        name = context.asset_key.to_user_string()
        table = self.lake.table(context.asset_key)

        def write(partitions: Sequence[str] | None) -> Metadata:
            rows = to_polars(audited.value, f"The value of {name}")
            if partitions is not None and PARTITION not in rows.columns:
                raise TypeError(
                    f"{name} has no column '{PARTITION}'; add it, with the first day of each row's partition."
                )
            rows = conformed(name, rows, _declared(context), _stored(table))
            days = None if partitions is None else [day_of(key) for key in partitions]
            refused = [day_of(key) for key in audited.refused if key is not None]
            kept = rows.filter(~pl.col(PARTITION).is_in(refused).fill_null(value=False)) if refused else rows
            version = table.overwrite(kept, days)
            return {"table_version": version, **describe(kept)}

        publish(context, audited, write)

    def load_input(self, context: dg.InputContext) -> Any:
        """The rows of the partitions that the downstream asset needs; partitions that hold no rows have none."""
        partitions = partitions_of(context)
        rows = self.lake.table(context.asset_key).scan(
            None if partitions is None else [day_of(key) for key in partitions]
        )
        return from_polars(rows, context.dagster_type.typing_type, f"The input {context.name}")


def describe(rows: pl.DataFrame) -> Metadata:
    """What the UI shows of a table: its columns and a few rows."""
    return {
        "dagster/column_schema": column_schema(dict(rows.schema)),
        "preview": dg.MetadataValue.md(_markdown(rows.head(PREVIEW_ROWS))),
    }


def column_schema(columns: dict[str, pl.DataType]) -> dg.TableSchema:
    """Columns as Dagster shows them."""
    return dg.TableSchema([dg.TableColumn(name, str(dtype)) for name, dtype in columns.items()])


def _declared(context: dg.OutputContext) -> dict[str, str]:
    schema = context.definition_metadata.get("dagster/column_schema")
    return {column.name: column.type for column in schema.columns} if schema else {}


def _stored(table: Table) -> dict[str, pl.DataType]:
    return dict(table.scan().collect_schema()) if table.exists() else {}


def _markdown(rows: pl.DataFrame) -> str:
    lines = [rows.columns, ["---"] * rows.width, *([str(value) for value in row] for row in rows.rows())]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )
