"""The I/O manager of tables: dataframes of any of four types in Delta Lake, a range of partitions in one commit."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from ml_platform.io_managers.columns import conformed
from ml_platform.io_managers.publishing import Key, Metadata, PublishingIOManager, keys_of
from ml_platform.ml.contract import PARTITION
from ml_platform.ml.frames import from_polars, to_polars
from ml_platform.partitions import day_of
from ml_platform.resources.lake import Lake, Table

PREVIEW_ROWS = 5


class TableIOManager(PublishingIOManager):
    """Stores what an asset returns as its Delta table and gives what the next asset's annotation asks for."""

    lake: dg.ResourceDependency[Lake]

    def data_versions(self, key: dg.AssetKey, partitions: Sequence[Key]) -> Mapping[Key, str]:
        """The data version of each of these partitions that is published."""
        days = {_day(partition): partition for partition in partitions}
        return {days[day]: version for day, version in self.lake.table(key).data_versions(days).items()}

    def write(self, spec: dg.AssetSpec, value: Any, data_versions: Mapping[Key, str | None]) -> Metadata:
        """Replace these partitions by their rows of a frame, in one commit.

        Raises:
            TypeError: the value is no dataframe, or its columns are not those declared or stored.
        """
        name, table = spec.key.to_user_string(), self.lake.table(spec.key)
        rows = to_polars(value, f"The value of {name}")
        days = _days(data_versions)
        if days is not None and PARTITION not in rows.columns:
            raise TypeError(f"{name} has no column '{PARTITION}'; add it, with the first day of each row's partition.")
        rows = conformed(name, rows, _declared(spec), _stored(table))
        versions = {_day(key): version for key, version in data_versions.items() if version is not None}
        return {"table_version": table.overwrite(rows, days, versions), **describe(rows)}

    def load_input(self, context: dg.InputContext) -> Any:
        """The rows of the partitions that the downstream asset needs; partitions that hold no rows have none."""
        rows = self.rows(context.asset_key, keys_of(context))
        return from_polars(rows, context.dagster_type.typing_type, f"The input {context.name}")

    def rows(self, key: dg.AssetKey, partitions: Sequence[Key], version: int | None = None) -> pl.LazyFrame:
        """The published rows of these partitions, as they are or as they were at a commit of the table.

        Raises:
            FileNotFoundError: the table was never written.
        """
        return self.lake.table(key).scan(_days(partitions), version=version)

    def newest_schemas(self, key: dg.AssetKey, partitions: Sequence[Key]) -> Mapping[Key, pl.Schema]:
        """The columns that each of these partitions was last written with, where it has rows."""
        days = {_day(partition): partition for partition in partitions}
        return {days[day]: schema for day, schema in self.lake.table(key).newest_schemas(days).items()}


def _days(partitions: Collection[Key]) -> list[date] | None:
    """The partitions' first days, None without partitions."""
    return None if None in partitions else [day_of(key) for key in partitions if key is not None]


def _day(partition: Key) -> date | None:
    return None if partition is None else day_of(partition)


def describe(rows: pl.DataFrame) -> Metadata:
    """What the UI shows of a table: its columns and a few rows."""
    return {
        "dagster/column_schema": column_schema(dict(rows.schema)),
        "preview": preview(rows),
    }


def preview(rows: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """The first rows as a table."""
    return dg.MetadataValue.md(_markdown(rows.head(PREVIEW_ROWS)))


def column_schema(columns: dict[str, pl.DataType]) -> dg.TableSchema:
    """Columns as Dagster shows them."""
    return dg.TableSchema([dg.TableColumn(name, str(dtype)) for name, dtype in columns.items()])


def _declared(spec: dg.AssetSpec) -> dict[str, str]:
    schema = spec.metadata.get("dagster/column_schema")
    return {column.name: column.type for column in schema.columns} if schema else {}


def _stored(table: Table) -> dict[str, pl.DataType]:
    return dict(table.scan().collect_schema()) if table.exists() else {}


def _markdown(rows: pl.DataFrame) -> str:
    lines = [rows.columns, ["---"] * rows.width, *([str(value) for value in row] for row in rows.rows())]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )
