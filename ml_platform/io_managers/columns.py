"""The columns of a table: which types Delta keeps, and whether rows have those that are declared or stored."""

import polars as pl

from ml_platform.ml.contract import PARTITION


def conformed(name: str, rows: pl.DataFrame, declared: dict[str, str], stored: dict[str, pl.DataType]) -> pl.DataFrame:
    """Rows in types that Delta keeps.

    Raises:
        TypeError: a column is of a type that the table does not have or cannot have; nothing was written.
    """
    kept = rows.with_columns(_storable(column, dtype) for column, dtype in rows.schema.items())
    # pandas has floats where integers are missing: numbers that the stored type holds exactly are not another type
    kept = kept.with_columns(
        _exactly(kept[column], dtype) for column, dtype in stored.items() if column in kept.columns
    )
    expected = declared | {column: str(dtype) for column, dtype in stored.items()}
    for column, dtype in kept.schema.items():
        if isinstance(dtype, (pl.Null, pl.Time, pl.Duration, pl.Int128)):
            raise TypeError(f"Column '{column}' of {name} is {dtype}, which no table can store; cast it.")
        if column in expected and str(dtype) != expected[column]:
            raise TypeError(
                f"Column '{column}' of {name} is {dtype}, not {expected[column]} as before; nothing was written."
            )
    return kept


def _exactly(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Numbers in the stored type where it holds each of them exactly, else as they are."""
    if values.null_count() == values.len():
        return pl.repeat(None, values.len(), dtype=dtype, eager=True).alias(values.name)
    if values.dtype == dtype or not (values.dtype.is_numeric() and dtype.is_numeric()):
        return values
    cast = values.cast(dtype, strict=False)
    return cast if cast.cast(values.dtype, strict=False).equals(values) else values


def _storable(name: str, dtype: pl.DataType) -> pl.Expr:
    """The column in the nearest type that Delta gives back as it was stored."""
    column = pl.col(name)
    match dtype:
        case pl.Datetime() if name == PARTITION:
            return column.cast(pl.Date)
        case pl.Datetime(time_zone=str()):
            return column.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
        case pl.Datetime():
            return column.dt.cast_time_unit("us")
        case pl.Categorical() | pl.Enum():
            return column.cast(pl.String)
        case _ if dtype.is_unsigned_integer():
            return column.cast(pl.Int64)
        case _:
            return column
