"""The blocks of the sources: where raw data comes from, one block for each kind."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ml_platform.blocks import Argument, Block, Reference, refuse

AssetName = Annotated[str, Field(examples=["shop/orders"], pattern=r"^[^/\s]+(/[^/\s]+)*$|^\{\{.*\}\}$")]


class SourceBlock(Block):
    """What all kinds of sources have."""

    @property
    def kind(self) -> str:
        """The word that Dagster shows of it."""
        return str(self.type)  # type: ignore[attr-defined]  # every kind has one

    @property
    def functions(self) -> list[str]:
        """References of the functions that make the rows."""
        return []

    @property
    def upstream(self) -> list[str]:
        """The keys of the Dagster assets that the rows are made of."""
        return []


class PythonSource(SourceBlock):
    """A Python function that returns the rows of a window of time."""

    type: Literal["python"] = Field(description="The rows come from a Python function.")
    function: Reference = Field(
        description="The function, called as `function(start, end, **arguments)` for the half-open window [start, end) "
        "of whole partitions (as `function(**arguments)` without partitions); it returns a dataframe."
    )
    arguments: dict[str, Argument] = Field(
        default_factory=dict, description="Further keyword arguments of the function."
    )

    @property
    def functions(self) -> list[str]:
        """The function."""
        return [self.function]


class FilesSource(SourceBlock):
    """Files on a local or mounted disk, or in an object store."""

    type: Literal["files"] = Field(description="The rows come from files.")
    path: str = Field(
        description="Path or glob of the files, relative to the project's folder, or their address in an object store "
        "(`s3://bucket/x.parquet`). With `{partition}` in it, each partition reads the files that carry its key "
        "(`2018-04-01`); without, rows are told apart by `event_time`. Files that end in `.gz`, `.zst`, `.bz2` or "
        "`.xz` are decompressed.",
        examples=["data/{partition}.parquet"],
    )
    format: Literal["parquet", "csv", "jsonl"] = Field(description="The files' format.")
    delimiter: str = Field(default=",", description="What stands between two values of a csv file: one character.")
    encoding: str = Field(
        default="utf-8", description="The encoding of csv and jsonl files, as Python calls it.", examples=["latin-1"]
    )
    missing: list[str] = Field(
        default=["", "NA", "NULL", "null"], description="The texts that mean a missing value in csv files."
    )

    @property
    def kind(self) -> str:
        """The word that Dagster shows of it."""
        return "file"

    @model_validator(mode="after")
    def _check_how_text_is_written(self) -> Self:
        if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '"\r\n':
            message = f"{self.delimiter!r} is no delimiter; write one character, such as ';' or \"\\t\"."
            refuse("FilesSource", ["delimiter"], message, self.delimiter)
        try:
            "".encode(self.encoding)  # refuses also the codecs that are not about text
        except LookupError:
            message = f"there is no encoding '{self.encoding}'; write one that Python knows, such as 'latin-1'."
            refuse("FilesSource", ["encoding"], message, self.encoding)
        return self


class SqlSource(SourceBlock):
    """A query or a table of a database."""

    type: Literal["sql"] = Field(description="The rows come from a database.")
    address_variable: str = Field(
        description="The name of the environment variable that holds the database's SQLAlchemy address "
        "(`postgresql://user:password@host/database`); the address itself stands in no file.",
        examples=["SHOP_DATABASE"],
    )
    query: str | None = Field(
        default=None,
        description="The query. With partitions it may use `:start` and `:end`, the half-open window of the wanted "
        "partitions; without them the rows of the window are chosen by `event_time` in the database.",
    )
    table: str | None = Field(default=None, description="A table or view to read whole columns of, instead of a query.")
    after: list[AssetName] = Field(
        default_factory=list, description="The keys of the Dagster assets that make the table, for the lineage."
    )

    @model_validator(mode="after")
    def _check_one_is_given(self) -> Self:
        if (self.query is None) == (self.table is None):
            refuse("SqlSource", [], "write either query or table.", None)
        if not self.address_variable.isidentifier() and not self.address_variable.startswith("{{"):
            # without the value: it may be the address itself, with its password
            message = "this is no name of an environment variable; write one, such as SHOP_DATABASE."
            refuse("SqlSource", ["address_variable"], message, None)
        return self

    @property
    def upstream(self) -> list[str]:
        """The assets that make the table."""
        return self.after


class AssetSource(SourceBlock):
    """A Dagster asset of your own, loaded by its own I/O manager."""

    type: Literal["asset"] = Field(description="The rows come from another Dagster asset.")
    key: AssetName = Field(
        description="The asset's key. Its value is a dataframe; if it has the same partitions, each partition of raw "
        "data is made of its own, else rows are told apart by `event_time`."
    )

    @property
    def kind(self) -> str:
        """The word that Dagster shows of it."""
        return "dagster"

    @property
    def upstream(self) -> list[str]:
        """The asset."""
        return [self.key]


Source = Annotated[PythonSource | FilesSource | SqlSource | AssetSource, Field(discriminator="type")]
