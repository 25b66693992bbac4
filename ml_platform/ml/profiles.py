"""The numbers of each partition that drift is looked for in: means, spreads and shares, by column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from ml_platform.ml.contract import PARTITION

if TYPE_CHECKING:
    from ml_platform.ml.drift import Floats

COLUMN, METRIC, VALUE, SCALED, NOISE = "column", "metric", "value", "scaled", "noise"
MEAN, SPREAD, NULLS, NEW, ROWS = "mean", "spread", "nulls", "new categories", "rows"
SHARE_OF = "share of "
MOST_CATEGORIES = 10
_SEPARATOR, _SIZE = "\x1f", "\x1frows"
_LEAST_SPREAD = 0.01


@dataclass(frozen=True)
class Scales:
    """How columns are measured, as they were in the reference.

    `units` has the standard deviation of each number, 1 where it does not vary; `known` the values of each text, the
    most frequent first.
    """

    units: Mapping[str, float]
    known: Mapping[str, pl.Series]


def scales_of(rows: pl.LazyFrame, columns: Sequence[str]) -> Scales:
    """The scales of columns in rows of the reference."""
    schema = rows.collect_schema()
    numbers = [name for name in columns if schema[name].is_numeric() or schema[name] == pl.Boolean]
    texts = [name for name in columns if name not in numbers]
    units = rows.select(_finite(name).std().alias(name) for name in numbers).collect() if numbers else pl.DataFrame()
    counts = {name: rows.group_by(pl.col(name).cast(pl.String)).len().collect() for name in texts}
    return Scales(
        {name: units[name].item() or 1.0 for name in numbers},
        {
            name: found.drop_nulls(name).sort("len", name, descending=[True, False])[name]
            for name, found in counts.items()
        },
    )


def profiles(rows: pl.LazyFrame, scales: Scales) -> pl.DataFrame:
    """One row for each partition, column and metric: the value, the same scaled, and its sampling variance there.

    Means are scaled by the reference's standard deviation; spreads and numbers of rows by the logarithm; shares by
    2 arcsin(sqrt(share)), whose differences are Cohen's h and whose sampling variance is 1 / rows whatever the share
    (Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, section 6.2). A column that is gone is null,
    and so is a number that is not finite.
    """
    schema = rows.collect_schema()
    columns = [*scales.units, *scales.known]
    gone = [pl.lit(None, pl.Float64 if name in scales.units else pl.String).alias(name) for name in columns]
    there = rows.with_columns(one for one, name in zip(gone, columns, strict=True) if name not in schema)
    measured = there.group_by(PARTITION).agg(
        *(expression for name in scales.units for expression in _of_number(name)),
        *(expression for name, known in scales.known.items() for expression in _of_text(name, known)),
        pl.len().alias(_SIZE),
    )
    long = (
        measured.with_columns(pl.col(_SIZE).cast(pl.Float64).alias(f"{ROWS}{_SEPARATOR}{ROWS}"))
        .unpivot(index=[PARTITION, _SIZE], variable_name=METRIC, value_name=VALUE)
        .collect(engine="streaming")
    )
    units = pl.DataFrame({COLUMN: list(scales.units), "unit": list(scales.units.values())}, _UNITS)
    named = long.with_columns(
        pl.col(METRIC).str.splitn(_SEPARATOR, 2).struct.rename_fields([COLUMN, METRIC]).alias("name")
    )
    return (
        named.drop(METRIC)
        .unnest("name")
        .join(units, on=COLUMN, how="left", maintain_order="left")
        .with_columns(_scaled().alias(SCALED), _noise().alias(NOISE))
        .select(PARTITION, COLUMN, METRIC, VALUE, SCALED, NOISE)
        .sort(PARTITION, COLUMN, METRIC)
    )


def matrix_of(frame: pl.DataFrame, field: str, keys: Sequence[object], names: pl.DataFrame) -> "Floats":
    """A field of profiles with a row for each partition and a column for each name: column and metric. NaN where none.

    `keys` are the values of the column `partition`.
    """
    import numpy as np

    rows = pl.DataFrame({PARTITION: pl.Series(keys, dtype=frame.schema[PARTITION])}).with_row_index("row")
    found = frame.join(rows, on=PARTITION).join(names.with_row_index("series"), on=[COLUMN, METRIC])
    matrix = np.full((len(keys), names.height), np.nan)
    matrix[found["row"].to_numpy(), found["series"].to_numpy()] = found[field].cast(pl.Float64).fill_null(np.nan)
    return matrix


_UNITS = {COLUMN: pl.String(), "unit": pl.Float64()}


def _finite(name: str) -> pl.Expr:
    value = pl.col(name).cast(pl.Float64)
    return pl.when(value.is_finite()).then(value)


def _of_number(name: str) -> tuple[pl.Expr, ...]:
    value = _finite(name)
    return (
        value.mean().alias(f"{name}{_SEPARATOR}{MEAN}"),
        value.std().alias(f"{name}{_SEPARATOR}{SPREAD}"),
        value.is_null().mean().alias(f"{name}{_SEPARATOR}{NULLS}"),
    )


def _of_text(name: str, known: pl.Series) -> tuple[pl.Expr, ...]:
    value = pl.col(name).cast(pl.String)
    return (
        value.is_null().mean().alias(f"{name}{_SEPARATOR}{NULLS}"),
        (value.is_not_null() & ~value.is_in(known.implode())).mean().alias(f"{name}{_SEPARATOR}{NEW}"),
        *(
            value.eq_missing(one).mean().alias(f"{name}{_SEPARATOR}{SHARE_OF}{one}")
            for one in known.head(MOST_CATEGORIES)
        ),
    )


def _scaled() -> pl.Expr:
    value = pl.col(VALUE)
    return (
        pl.when(pl.col(METRIC) == MEAN)
        .then(value / pl.col("unit"))
        .when(pl.col(METRIC) == SPREAD)
        .then((value / pl.col("unit") + _LEAST_SPREAD).log())  # a number that does not vary has a spread too
        .when(pl.col(METRIC) == ROWS)
        .then(value.log())
        .otherwise(2 * value.clip(0, 1).sqrt().arcsin())
    )


def _noise() -> pl.Expr:
    rows = pl.col(_SIZE)
    return pl.when(pl.col(METRIC) == SPREAD).then(1 / (2 * rows)).otherwise(1 / rows)
