"""The lake: one Delta table for each asset below one root, local or in an object store."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import polars as pl
from pydantic import Field

from ml_platform.ml.contract import PARTITION


@dataclass(frozen=True)
class Table:
    """One Delta table; partitioned tables have a date column `partition` with the partition's first day."""

    address: str
    storage_options: dict[str, str]

    def exists(self) -> bool:
        """Whether anything was ever written."""
        from deltalake import DeltaTable

        return DeltaTable.is_deltatable(self.address, self.storage_options)

    def version(self) -> int:
        """The number of the newest commit."""
        from deltalake import DeltaTable

        return DeltaTable(self.address, storage_options=self.storage_options).version()

    def partitions(self) -> list[date]:
        """The partitions that hold rows, in order."""
        from deltalake import DeltaTable

        if not self.exists():
            return []
        table = DeltaTable(self.address, storage_options=self.storage_options)
        return sorted({date.fromisoformat(partition[PARTITION]) for partition in table.partitions()})

    def scan(self, partitions: Iterable[date] | None = None) -> pl.LazyFrame:
        """The rows of some partitions, or of all.

        Raises:
            FileNotFoundError: the table was never written.
        """
        if not self.exists():
            raise FileNotFoundError(f"nothing was ever written to {self.address}; materialize the asset first.")
        rows = pl.scan_delta(
            self.address, storage_options=self.storage_options, use_pyarrow=_is_encoded_by_polars(self.address)
        )
        return rows if partitions is None else rows.filter(_among(sorted(partitions)))

    def overwrite(self, rows: pl.DataFrame, partitions: Sequence[date] | None) -> int:
        """Replace partitions, or the whole table, by rows in one commit; the new version's number.

        New columns are added to the table; partitions not named stay as they are.

        Raises:
            ValueError: there are rows of other partitions than those named.
        """
        from deltalake import write_deltalake

        if partitions is None:
            write_deltalake(
                self.address, rows, mode="overwrite", schema_mode="overwrite", storage_options=self.storage_options
            )
            return self.version()
        if rows.schema[PARTITION] != pl.Date:
            raise TypeError(f"column '{PARTITION}' is {rows.schema[PARTITION]}, not Date; nothing was written.")
        strays = set(rows[PARTITION].unique()) - set(partitions)
        if strays:
            raise ValueError(
                f"rows of {min(map(str, strays))} among those of {min(partitions)}..{max(partitions)}; "
                "nothing was written."
            )
        days = ", ".join(f"'{day}'" for day in sorted(partitions))
        write_deltalake(
            self.address,
            rows,
            mode="overwrite",
            schema_mode="merge",
            partition_by=[PARTITION],
            predicate=f"{PARTITION} IN ({days})" if self.exists() else None,
            storage_options=self.storage_options,
        )
        return self.version()


def _is_encoded_by_polars(address: str) -> bool:
    """Whether polars 2.1 would look for a local table under its percent-encoded path; drop when it does not."""
    path = str(Path(address).absolute())
    return "://" not in address and quote(path, safe="/~@:!$&'()*+,;=") != path


def _among(days: list[date]) -> pl.Expr:
    """Membership in days: as a range where they have no gap, which the table's log answers fastest."""
    span = (days[-1] - days[0]).days + 1 if days else 0
    column = pl.col(PARTITION)
    return column.is_between(days[0], days[-1]) if span == len(days) > 0 else column.is_in(days)


class Lake(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where tables and reports live."""

    root: str
    storage_options: dict[str, str] = Field(default_factory=dict)

    def address(self, key: dg.AssetKey) -> str:
        """The folder of an asset."""
        return "/".join([self.root.rstrip("/"), *key.path])

    def table(self, key: dg.AssetKey) -> Table:
        """The Delta table of an asset."""
        return Table(self.address(key), self.storage_options)
