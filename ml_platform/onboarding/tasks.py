"""What kind of prediction a target asks for, and how it becomes a label that a model takes."""

import json
from dataclasses import dataclass, replace

import polars as pl

from ml_platform.errors import UserError
from ml_platform.onboarding.columns import Found, figure, number_written, numbers_in, plain
from ml_platform.onboarding.target import Target
from ml_platform.use_case import Task

YES = {"yes", "y", "true", "t"}
MOST_CLASSES = 20
ROWS_A_CLASS = 20
FEWEST_ROWS = 50
TWO = 2


@dataclass(frozen=True)
class Labelling:
    """The task and the reason for it.

    `positive` is the value that counts as 1, where it is not 1 or true; `expression` is that of polars, as Python,
    which makes the label where no column is it.
    """

    task: Task
    reason: str
    positive: int | float | str | None = None
    expression: str | None = None


def labelling_of(target: Target, found: Found, values: pl.Series) -> Labelling:
    """What a target's values say.

    Raises:
        UserError: they are all the same, too few, or nothing that can be predicted.
    """
    filled = values.drop_nulls()
    if len(filled) < FEWEST_ROWS:
        raise UserError(f"{len(filled)} rows have a {target.column}; a model needs {FEWEST_ROWS} at least.")
    if found.decimal:
        numbers = numbers_in(filled, found.decimal)
        labelling = labelling_of(target, Found(found.name, "float64"), numbers)
        number, column = number_written(target.column, found.decimal), f"pl.col({_python(target.column)})"
        return replace(labelling, expression=(labelling.expression or column).replace(column, number))
    if target.operator:
        if found.type not in {"int64", "float64"}:
            raise UserError(f"--target {target}: {target.column} is {found.type}; compare a number, or name a column.")
        return _compared(target, filled)
    if found.type == "string" and (alike := plain(filled)).n_unique() < filled.n_unique():
        labelling = _named(target.column, found, alike)
        reason = f"{labelling.reason}, written in {filled.n_unique()} ways by case and spaces"
        expression = f"pl.col({_python(target.column)}).str.strip_chars().str.to_lowercase()"
        if labelling.positive is not None:
            expression = f"({expression} == {_python(labelling.positive)}).cast(pl.Int64)"
        return replace(labelling, reason=reason, positive=None, expression=expression)
    return _named(target.column, found, filled)


def _named(name: str, found: Found, filled: pl.Series) -> Labelling:
    counts = filled.value_counts(sort=True, name="rows")
    if counts.height == 1:
        raise UserError(f"{name} is {filled[0]} in all rows; there is nothing to predict.")
    if counts.height == TWO:
        return _binary(name, found, counts)
    few = counts.height <= MOST_CLASSES and counts.height * ROWS_A_CLASS <= len(filled)
    if found.type == "string" and not few:
        raise UserError(
            f"{name} has {counts.height:,} different texts; predict a column with at most {MOST_CLASSES}, or a number."
        )
    if found.type in {"datetime", "date"}:
        raise UserError(f"{name} is a {found.type}; predict a number or a class, such as whether it lies in 30 days.")
    if found.type == "string" or (found.type == "int64" and few):
        return Labelling("multiclass_classification", f"{name} has {counts.height} values")
    return Labelling("regression", f"{name} is a number with {counts.height:,} values")


def _compared(target: Target, filled: pl.Series) -> Labelling:
    expression = f"(pl.col({_python(target.column)}) {target.operator} {target.number:g}).cast(pl.Int64)"
    share = _share_true(filled, target)
    if share in {0.0, 1.0}:
        every = "no" if share == 0 else "every"
        raise UserError(
            f"--target {target}: that holds for {every} row; {target.column} goes from {figure(filled.min()):g} to "
            f"{figure(filled.max()):g}."
        )
    return Labelling("binary_classification", f"it holds in {share:.1%} of the rows", None, expression)


def _share_true(filled: pl.Series, target: Target) -> float:
    column, number = filled, target.number
    compared = {
        ">=": column >= number,
        "<=": column <= number,
        ">": column > number,
        "<": column < number,
        "==": column == number,
        "!=": column != number,
    }
    return figure(compared[str(target.operator)].mean())


def _binary(name: str, found: Found, counts: pl.DataFrame) -> Labelling:
    values, rows = counts[name].to_list(), counts["rows"].to_list()
    usual = found.type == "boolean" or set(values) == {0, 1}
    spoken = [value for value in values if str(value).lower() in YES]
    rarest = [value for value, number in zip(values, rows, strict=True) if number == min(rows)]
    positive = max(values) if usual else spoken[0] if len(spoken) == 1 else max(rarest)
    share = rows[values.index(positive)] / sum(rows)
    as_one = "" if usual else f", {positive} counts as 1"
    reason = f"{name} has two values{as_one}: {share:.1%} of the rows"
    return Labelling("binary_classification", reason, None if usual else positive)


def _python(value: object) -> str:
    """A text or number as Python writes it."""
    return json.dumps(value, ensure_ascii=False)
