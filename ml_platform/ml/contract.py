"""A data contract applied to frames: coercion to the declared types, and the split into valid and quarantined rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import polars as pl
import polars.selectors as cs

from ml_platform.use_case import Cadence, Column, ColumnType, Contract
from ml_platform.use_case.data import moments

PARTITION = "partition"
RESCUED = "rescued"
VIOLATIONS = "violations"

DTYPES: dict[ColumnType, pl.DataType] = {
    "int64": pl.Int64(),
    "float64": pl.Float64(),
    "string": pl.String(),
    "boolean": pl.Boolean(),
    "datetime": pl.Datetime("us"),
    "date": pl.Date(),
}
TRUNCATION: dict[Cadence, Literal["1d", "1w", "1mo"]] = {"day": "1d", "week": "1w", "month": "1mo"}


def partition_of(event_time: str, every: Cadence) -> pl.Expr:
    """The first day of the partition in which a row's event time lies."""
    return pl.col(event_time).dt.truncate(TRUNCATION[every]).cast(pl.Date).alias(PARTITION)


def missing_columns(frame: pl.DataFrame, contract: Contract) -> list[str]:
    """The contract's columns that the frame does not have."""
    return [name for name in contract.columns if name not in frame.columns]


def coerce(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """The contract's columns in their declared types, and `rescued`: as JSON, by column, the values that did not fit.

    `rescued` is null where every value fits; no value is lost, and no other column is kept.
    """
    # a NaN is a missing number, whatever the column's type
    given = frame.select(*contract.columns).with_columns(cs.float().fill_nan(None))
    typed = given.select(
        _coerced(name, given.schema[name], column).alias(name) for name, column in contract.columns.items()
    )
    lost = {name: given[name].is_not_null() & typed[name].is_null() for name in contract.columns}
    lost = {name: mask for name, mask in lost.items() if mask.any()}
    if not lost:
        return typed.with_columns(pl.lit(None, pl.String).alias(RESCUED))
    originals = pl.DataFrame(
        {name: _text(given[name].zip_with(mask, given[name].clear(1))) for name, mask in lost.items()}
    )
    rescued = originals.select(
        pl.when(pl.any_horizontal(pl.all().is_not_null())).then(pl.struct(pl.all()).struct.json_encode()).alias(RESCUED)
    )
    return typed.hstack(rescued)


def _text(values: pl.Series) -> pl.Series:
    """Values as text, also those that polars cannot cast to it."""
    if isinstance(values.dtype, pl.Datetime | pl.Date):
        return values.to_physical().cast(pl.String) if _fits(values).not_().any() else values.cast(pl.String)
    if values.dtype.is_nested() or isinstance(values.dtype, pl.Binary | pl.Duration | pl.Object):
        texts = [None if value is None else str(value) for value in values.to_list()]
        return pl.Series(values.name, texts, dtype=pl.String)
    return values.cast(pl.String)


def _coerced(name: str, given: pl.DataType, declared: Column) -> pl.Expr:
    column, wanted = pl.col(name), declared.type
    if isinstance(given, pl.Categorical | pl.Enum):
        column, given = column.cast(pl.String), pl.String()
    if given == DTYPES[wanted] and not given.is_temporal():
        return column
    if given == pl.String:
        return _from_text(column.str.strip_chars(), wanted, declared.format)
    if isinstance(given, pl.Datetime | pl.Date | pl.Time):
        return _from_moment(column, given, wanted)
    if given.is_numeric() or isinstance(given, pl.Boolean | pl.Null):
        return _from_number(column, given, wanted)
    return pl.repeat(None, pl.len(), dtype=DTYPES[wanted])


def _from_text(text: pl.Expr, wanted: ColumnType, form: str | None) -> pl.Expr:
    number = text.cast(pl.Float64, strict=False).fill_nan(None)
    match wanted:
        case "int64":
            exact = text.str.replace(r"\.0*$", "").cast(pl.Int64, strict=False)  # beyond the 53 bits of a float
            return pl.coalesce(exact, pl.when(number == number.round()).then(number.cast(pl.Int64, strict=False)))
        case "float64":
            return number
        case "boolean":
            words = {"true": True, "1": True, "false": False, "0": False}
            return text.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
        case "datetime" | "date" if form is not None:
            return _fitting(moments(text, form)).cast(DTYPES[wanted])
        case "datetime":
            return _fitting(_parsed(text))
        case "date":
            return _fitting(text.str.to_date("%Y-%m-%d", strict=False))
        case "string":
            return text


def _from_number(number: pl.Expr, given: pl.DataType, wanted: ColumnType) -> pl.Expr:
    match wanted:
        case "int64" if given.is_float() or given.is_decimal():
            return pl.when(number == number.round()).then(number.cast(pl.Int64, strict=False))
        case "int64" | "float64" | "string":
            return number.cast(DTYPES[wanted], strict=False)
        case "boolean":
            return pl.when(number == 1).then(True).when(number == 0).then(False)
        case "datetime" | "date":
            return pl.repeat(None, pl.len(), dtype=DTYPES[wanted])


def _from_moment(moment: pl.Expr, given: pl.DataType, wanted: ColumnType) -> pl.Expr:
    if wanted == "string":
        return moment.cast(pl.String)
    if wanted not in {"datetime", "date"} or isinstance(given, pl.Time):
        return pl.repeat(None, pl.len(), dtype=DTYPES[wanted])
    if isinstance(given, pl.Datetime) and given.time_zone:
        moment = moment.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return _fitting(moment.cast(DTYPES[wanted], strict=False))


def _parsed(text: pl.Expr) -> pl.Expr:
    """Text in the ISO format as datetimes, those with a time zone in UTC; each by itself, whatever stands above it."""
    moment = text.str.replace("T", " ")
    forms = [" %H:%M:%S%.f", " %H:%M", "", " %H:%M:%S%.f%#z", " %H:%M%#z"]
    return pl.coalesce(moments(moment, f"%Y-%m-%d{form}") for form in forms)


def _fits(moment: Any) -> Any:
    return moment.is_between(pl.lit(datetime.min), pl.lit(datetime.max))


def _fitting(moment: pl.Expr) -> pl.Expr:
    """Moments in the years 1 to 9999, those that Python and pandas can name; null for others."""
    return pl.when(_fits(moment)).then(moment)


@dataclass(frozen=True)
class Rule:
    """One condition on the rows: the column it judges, its name, and an expression that is true where it is broken."""

    column: str
    name: str
    broken: pl.Expr


def rules(contract: Contract, every: Cadence | None) -> Iterator[Rule]:
    """The rules that a contract puts on coerced rows; `every` is the cadence of the partitions, if there are any."""
    for name, column in contract.columns.items():
        yield Rule(name, "type", pl.col(RESCUED).str.json_path_match(f'$["{name}"]').is_not_null())
        if not column.nullable or name in contract.key or (every and name == contract.event_time):
            missing = pl.col(name).is_null()
            yield Rule(name, "nullable", missing & pl.col(RESCUED).str.json_path_match(f'$["{name}"]').is_null())
        yield from _value_rules(name, column)
    if every and contract.event_time:
        outside = partition_of(contract.event_time, every) != pl.col(PARTITION)
        yield Rule(contract.event_time, "partition", outside)
    # within the partition: what a row is told must not depend on which other partitions are computed with it
    key = [*contract.key, PARTITION] if every else contract.key
    repeated = ~pl.struct(key).is_first_distinct() & pl.all_horizontal(pl.col(contract.key).is_not_null())
    yield Rule(contract.key[0], "unique", repeated)


def _value_rules(name: str, column: Column) -> Iterator[Rule]:
    value = pl.col(name)
    if column.type == "float64":
        yield Rule(name, "finite", value.is_infinite())
    if column.min is not None:
        yield Rule(name, "min", value < pl.lit(column.min))
    if column.max is not None:
        yield Rule(name, "max", value > pl.lit(column.max))
    if column.one_of is not None:
        yield Rule(name, "one_of", ~value.is_in(pl.Series(column.one_of, dtype=DTYPES[column.type]).implode()))
    if column.matches is not None:
        yield Rule(name, "matches", ~value.str.contains(f"^(?:{column.matches})$"))


def split(rows: pl.DataFrame, contract: Contract, every: Cadence | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Coerced rows as (valid, quarantined): valid rows without `rescued`, the others with the list of their violations.

    Each violation is a struct of column, rule and the value as text. Of rows that repeat a key only the first is no
    repetition.
    Every row is in exactly one of the two frames.
    """
    applied = list(rules(contract, every))
    broken = rows.select(rule.broken.fill_null(value=False).alias(str(index)) for index, rule in enumerate(applied))
    bad = broken.select(pl.any_horizontal(pl.all())).to_series()
    violations = pl.concat_list(
        pl.when(pl.col(f"__broken_{index}")).then(
            pl.struct(
                pl.lit(rule.column).alias("column"),
                pl.lit(rule.name).alias("rule"),
                pl.coalesce(
                    pl.col(RESCUED).str.json_path_match(f'$["{rule.column}"]'), pl.col(rule.column).cast(pl.String)
                ).alias("value"),
            )
        )
        for index, rule in enumerate(applied)
    ).list.drop_nulls()
    quarantined = rows.filter(bad).hstack(broken.filter(bad).rename(lambda name: f"__broken_{name}"))
    return (
        rows.filter(~bad).drop(RESCUED),
        quarantined.select(*rows.columns, violations.alias(VIOLATIONS)),
    )
