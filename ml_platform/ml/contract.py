"""A data contract applied to frames: coercion to the declared types, and the split into valid and quarantined rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import polars as pl

from ml_platform.use_case import Cadence, Column, ColumnType, Contract

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
    same = {name for name, column in contract.columns.items() if frame.schema[name] == DTYPES[column.type]}
    typed = frame.select(
        *(
            _without_nan(name, column.type)
            if name in same
            else _coerced(name, frame.schema[name], column.type).alias(name)
            for name, column in contract.columns.items()
        )
    )
    lost = {name: frame[name].is_not_null() & typed[name].is_null() for name in contract.columns if name not in same}
    lost = {name: mask for name, mask in lost.items() if mask.any()}
    if not lost:
        return typed.with_columns(pl.lit(None, pl.String).alias(RESCUED))
    originals = frame.select(
        pl.when(mask).then(pl.col(name).cast(pl.String)).alias(name) for name, mask in lost.items()
    )
    rescued = originals.select(
        pl.when(pl.any_horizontal(pl.all().is_not_null())).then(pl.struct(pl.all()).struct.json_encode()).alias(RESCUED)
    )
    return typed.hstack(rescued)


def _without_nan(name: str, kept: ColumnType) -> pl.Expr:
    return pl.col(name).fill_nan(None) if kept == "float64" else pl.col(name)


def _coerced(name: str, given: pl.DataType, wanted: ColumnType) -> pl.Expr:
    column = pl.col(name)
    text = column.str.strip_chars() if given == pl.String else column
    match wanted:
        case "int64":
            number = text.cast(pl.Float64, strict=False) if given == pl.String else column
            whole = text.cast(pl.Int64, strict=False)
            if given.is_float():
                return pl.when(column == column.round()).then(whole)
            return pl.coalesce(whole, pl.when(number == number.round()).then(number.cast(pl.Int64, strict=False)))
        case "float64":
            return text.cast(pl.Float64, strict=False).fill_nan(None)
        case "string":
            return column.cast(pl.String)
        case "boolean":
            word = column.cast(pl.String).str.strip_chars().str.to_lowercase()
            return word.replace_strict(
                {"true": True, "1": True, "false": False, "0": False}, default=None, return_dtype=pl.Boolean
            )
        case "datetime" if given == pl.String:
            return text.str.to_datetime(time_unit="us", strict=False)
        case "date" if given == pl.String:
            return text.str.to_date(strict=False)
        case "datetime" if isinstance(given, pl.Datetime) and given.time_zone:
            return column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).cast(pl.Datetime("us"))
        case "datetime" | "date" if given.is_temporal():
            return column.cast(DTYPES[wanted], strict=False)
        case _:
            return pl.lit(None, DTYPES[wanted])


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
        yield Rule(name, "one_of", ~value.is_in(pl.Series(column.one_of).cast(DTYPES[column.type]).implode()))
    if column.matches is not None:
        yield Rule(name, "matches", ~value.str.contains(f"^(?:{column.matches})$"))


def split(rows: pl.DataFrame, contract: Contract, every: Cadence | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Coerced rows as (valid, quarantined): valid rows without `rescued`, the others with the list of their violations.

    Each violation is a struct of column, rule and the value as text. Of rows that repeat a key the first stays valid.
    Every row is in exactly one of the two frames.
    """
    applied = list(rules(contract, every))
    broken = rows.select(rule.broken.fill_null(value=False).alias(str(index)) for index, rule in enumerate(applied))
    bad = broken.select(pl.any_horizontal(pl.all())).to_series()
    violations = pl.concat_list(
        pl.when(pl.col(f"broken_{index}")).then(
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
    quarantined = rows.filter(bad).hstack(broken.filter(bad).rename(lambda name: f"broken_{name}"))
    return (
        rows.filter(~bad).drop(RESCUED),
        quarantined.select(*rows.columns, violations.alias(VIOLATIONS)),
    )
