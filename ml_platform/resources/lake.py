"""The lake: one Delta table for each asset below one root, local or in an object store."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from math import ceil
from pathlib import Path
from random import uniform
from time import sleep, time
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote
from uuid import uuid4

import dagster as dg
import polars as pl
from pydantic import Field
from upath import UPath

from ml_platform.ml.contract import PARTITION

if TYPE_CHECKING:
    from deltalake.transaction import AddAction

ATTEMPTS = 8
WHOLE = "whole"
# else deltalake forgets commits after thirty days, those too that a registered version was trained on
CONFIGURATION = {"delta.enableExpiredLogCleanup": "false"}


@dataclass(frozen=True)
class Table:
    """One Delta table; partitioned tables have a date column `partition` with the partition's first day.

    Each partition carries the data version it was published with, in the same commit as its rows.
    """

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

    def commit(self, at: int | datetime) -> int:
        """The number of a commit, given it or a moment (UTC if naive), which stands for the newest before it.

        Raises:
            LookupError: there is none.
        """
        from deltalake import DeltaTable

        table = DeltaTable(self.address, storage_options=self.storage_options)
        newest = table.version()
        if isinstance(at, int):
            if not 0 <= at <= newest:
                raise LookupError(f"there is no commit {at}; the newest is {newest}.")
            return at
        moment = at if at.tzinfo else at.replace(tzinfo=UTC)
        table.load_as_version(moment)
        # for a moment before the first commit it is the first all the same
        if table.version() == 0 and (first := table.history()[-1]["timestamp"] / 1000) > moment.timestamp():
            raise LookupError(
                f"nothing was there on {moment:%Y-%m-%d %H:%M %Z} yet; the first commit is of "
                f"{datetime.fromtimestamp(first, UTC):%Y-%m-%d %H:%M} UTC."
            )
        return table.version()

    def data_versions(self, partitions: Iterable[date | None], version: int | None = None) -> dict[date | None, str]:
        """The data version of each of these partitions that is published; of the whole table under None.

        `version` is the commit to look at, by default the newest.
        """
        from deltalake import DeltaTable

        if not self.exists():
            return {}
        table = DeltaTable(self.address, version, self.storage_options)
        found = {partition: table.transaction_version(_transaction(partition)) for partition in partitions}
        return {partition: f"{number:016x}" for partition, number in found.items() if number}

    def row_counts(self) -> dict[date | None, int]:
        """The number of rows in each partition that has any; of the whole table under None."""
        return dict(self._files().group_by(PARTITION).agg(pl.col("num_records").sum()).iter_rows())

    def newest_schema(self) -> pl.Schema:
        """The columns that the newest partition, or a table without any, was last written with; none before that.

        A column that is written no more stays in the table, all null. That of the partitions is in no file.
        """
        from deltalake import DeltaTable

        files = self._files().sort(PARTITION)
        if files.height:
            return self._schema(files["path"][-1])
        there = self.exists()
        return pl.Schema(DeltaTable(self.address, storage_options=self.storage_options).schema() if there else None)

    def newest_schemas(self, partitions: Collection[date | None]) -> dict[date | None, pl.Schema]:
        """The columns that each of these partitions that has rows was last written with; the whole table's under None.

        As of `newest_schema`.
        """
        # written as a whole, all files of a partition have the same columns
        files = self._files().filter(pl.col(PARTITION).is_in(list(partitions), nulls_equal=True)).unique(PARTITION)
        return {partition: self._schema(path) for partition, path in files.select(PARTITION, "path").iter_rows()}

    def _schema(self, path: str) -> pl.Schema:
        file = f"{self.address}/{path}"
        return pl.scan_parquet(file, storage_options=self.storage_options, glob=False).collect_schema()

    def _files(self) -> pl.DataFrame:
        """The files of the table as it is, each with its partition or null; none before anything was written."""
        from deltalake import DeltaTable

        if not self.exists():
            return pl.DataFrame(schema={PARTITION: pl.Date, "path": pl.String, "num_records": pl.Int64})
        table = DeltaTable(self.address, storage_options=self.storage_options)
        files, partition = pl.DataFrame(table.get_add_actions(flatten=True)), f"partition.{PARTITION}"
        key = pl.col(partition) if partition in files.columns else pl.lit(None, pl.Date)
        return files.select(key.alias(PARTITION), "path", "num_records")

    def read(self) -> tuple[int, pl.DataFrame] | None:
        """The number of the newest commit and all its rows, of a small table; None if nothing was ever written.

        By the query engine of delta-rs: to scan a Delta table Polars imports PyArrow, which takes a tenth of a second.

        Raises:
            OSError: a file of it is gone or spoilt.
        """
        from deltalake import DeltaTable, QueryBuilder
        from deltalake.exceptions import TableNotFoundError

        try:
            table = DeltaTable(self.address, storage_options=self.storage_options)
        except TableNotFoundError:
            return None
        try:
            rows = pl.DataFrame(QueryBuilder().register("stored", table).execute("SELECT * FROM stored"))
        except pl.exceptions.ComputeError as error:
            raise OSError(f"{self.address} cannot be read, {error}") from error
        return table.version(), rows

    def scan(self, partitions: Iterable[date] | None = None, *, version: int | None = None) -> pl.LazyFrame:
        """The rows of some partitions, or of all: as they are, or as they were at a commit.

        Raises:
            FileNotFoundError: the table was never written.
        """
        if not self.exists():
            raise FileNotFoundError(f"nothing was ever written to {self.address}; materialize the asset first.")
        rows = pl.scan_delta(
            self.address,
            version=version,
            storage_options=self.storage_options,
            use_pyarrow=_is_encoded_by_polars(self.address),
        )
        return rows if partitions is None else rows.filter(_among(sorted(partitions)))

    def overwrite(
        self,
        rows: pl.DataFrame,
        partitions: Sequence[date] | None,
        data_versions: Mapping[date | None, str] | None = None,
    ) -> int:
        """Replace partitions, or the whole table, by rows in one commit; the new version's number.

        New columns are added to the table; partitions not named stay as they are. A data version is a hexadecimal
        number below 2^63. Where another writer commits in between, the write is tried again.

        Raises:
            ValueError: there are rows of other partitions than those named.
        """
        if partitions is not None:
            _check_partitions(rows, partitions)
        from deltalake.exceptions import DeltaError

        for attempt in range(ATTEMPTS):
            try:
                return self._commit(rows, partitions, data_versions or {})
            except DeltaError as error:
                if attempt == ATTEMPTS - 1 or not _is_of_another_writer(error):
                    raise
                sleep(uniform(0, 0.05 * 2**attempt))  # noqa: S311 - spreads writers, keeps no secret
        raise AssertionError

    def append(self, rows: pl.DataFrame) -> None:
        """Add rows to a table without partitions."""
        from deltalake import write_deltalake

        write_deltalake(
            self.address, rows, mode="append", configuration=CONFIGURATION, storage_options=self.storage_options
        )

    def append_after(self, version: int | None, rows: pl.DataFrame) -> bool:
        """Add rows if the newest commit is still that one, None before the first; False if it is not.

        A table that begins so can only be appended to.
        """
        from deltalake import CommitProperties, DeltaTable, write_deltalake
        from deltalake.exceptions import DeltaError

        options = self.storage_options
        try:
            table = self.address if version is None else DeltaTable(self.address, version, options)
            mode: Literal["error", "append"] = "error" if version is None else "append"
            once = CommitProperties(max_commit_retries=0)
            settings = CONFIGURATION | {"delta.appendOnly": "true"} if version is None else None
            write_deltalake(
                table,
                rows,
                mode=mode,
                schema_mode="merge",  # a column that somebody has added stays empty
                configuration=settings,
                commit_properties=once,
                storage_options=options,
            )
        except DeltaError as error:
            if not _is_of_another_writer(error):
                raise
            return False
        return True

    def vacuum(self, older_than: timedelta, keep: Collection[int] = ()) -> int:
        """Remove files that no commit needs which is newer, or kept; their number.

        The newest commit is always kept. A young file may be of a writer that has yet to commit: keep some hours.
        """
        from deltalake import DeltaTable

        table = DeltaTable(self.address, storage_options=self.storage_options)
        how: dict[str, Any] = {
            "retention_hours": ceil(older_than / timedelta(hours=1)),
            "enforce_retention_duration": False,
            "full": True,
            "keep_versions": sorted(keep),
        }
        folder = UPath(self.address, **self.storage_options)
        # it names those too that it has removed before
        unneeded = [file for file in table.vacuum(dry_run=True, **how) if (folder / file).exists()]
        if unneeded:  # a vacuum that removes nothing would be two commits all the same
            table.vacuum(dry_run=False, **how)
        return len(unneeded)

    def _commit(
        self, rows: pl.DataFrame, partitions: Sequence[date] | None, data_versions: Mapping[date | None, str]
    ) -> int:
        """Write one file a partition and make them the table's in one commit.

        delta-rs would keep a writer open for every partition, which takes twice the time and ten times the memory.
        """
        from deltalake import CommitProperties, DeltaTable, Schema, Transaction
        from deltalake.transaction import create_table_with_add_actions

        with ThreadPoolExecutor() as threads:
            files = list(threads.map(lambda part: self._file(*part), _parts(rows, partitions)))
        # all that is written is marked, 0 for no data version: by its mark two writers of a new partition find out
        marks = [
            Transaction(_transaction(key), int(data_versions.get(key, "0"), 16))
            for key in ([None] if partitions is None else partitions)
        ]
        by = [] if partitions is None else [PARTITION]
        columns = dict(rows.schema)
        if not self.exists():
            schema = Schema.from_arrow(pl.Schema(columns))
            create_table_with_add_actions(
                self.address,
                schema,
                files,
                partition_by=by,
                configuration=CONFIGURATION,
                storage_options=self.storage_options,
                # tried again, it would add to the table that another writer has created
                commit_properties=CommitProperties(app_transactions=marks, max_commit_retries=0),
            )
            return self.version()
        # before its columns are looked at: those that another writer adds from here on are noticed as a conflict
        table = DeltaTable(self.address, storage_options=self.storage_options)
        if partitions is not None:
            columns = {**self.scan(version=table.version()).collect_schema(), **columns}
        table.create_write_transaction(
            [*files],
            "overwrite",
            Schema.from_arrow(pl.Schema(columns)),
            partition_by=by,
            partition_filters=None if partitions is None else [(PARTITION, "in", [f"{day}" for day in partitions])],
            commit_properties=CommitProperties(app_transactions=marks),
        )
        return self.version()

    def _file(self, day: date | None, rows: pl.DataFrame) -> "AddAction":
        from deltalake.transaction import AddAction

        stored = BytesIO()
        rows.write_parquet(stored, compression="zstd", compression_level=1)
        name = f"{uuid4()}.parquet" if day is None else f"{PARTITION}={day}/{uuid4()}.parquet"
        file = UPath(self.address, **self.storage_options) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(stored.getvalue())
        values: dict[str, str | None] = {} if day is None else {PARTITION: f"{day}"}
        statistics = json.dumps({"numRecords": rows.height})
        return AddAction(name, stored.getbuffer().nbytes, values, int(time() * 1000), True, statistics)


def _parts(rows: pl.DataFrame, partitions: Sequence[date] | None) -> Iterator[tuple[date | None, pl.DataFrame]]:
    if partitions is None:
        yield None, rows
    else:
        parts = rows.partition_by(PARTITION, as_dict=True, include_key=False, maintain_order=True)
        yield from ((day, part) for (day,), part in parts.items())


def put(file: UPath, content: bytes) -> None:
    """Store a file whole or not at all, whoever else stores it: under another name first, and renamed."""
    unfinished = file.with_name(f".{file.name}.{uuid4()}")
    unfinished.write_bytes(content)
    unfinished.rename(file)


def _check_partitions(rows: pl.DataFrame, partitions: Sequence[date]) -> None:
    if rows.schema[PARTITION] != pl.Date:
        raise TypeError(f"column '{PARTITION}' is {rows.schema[PARTITION]}, not Date; nothing was written.")
    strays = set(rows[PARTITION].unique()) - set(partitions)
    if strays:
        raise ValueError(
            f"rows of {min(map(str, strays))} among those of {min(partitions)}..{max(partitions)}; nothing was written."
        )


def _transaction(partition: date | None) -> str:
    return WHOLE if partition is None else partition.isoformat()


def _is_of_another_writer(error: Exception) -> bool:
    """Whether a commit was refused because another one came first; the library has no class of its own for each."""
    return type(error).__name__ == "CommitFailedError" or "already exists" in str(error)


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
