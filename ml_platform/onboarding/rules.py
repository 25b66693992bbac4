"""The contract's rules for a column, inferred from its values: range with slack, the few values, missing or not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from ml_platform.onboarding.columns import Found

FEW = 12
ROWS_A_VALUE = 20
SLACK = 0.5
RARE = 0.001
FEWEST_VALUES, MANY_VALUES = 4, 20
FAR_FROM_FEW = 10


@dataclass(frozen=True)
class Isolated:
    """Values at one end of a column that lie farther from the others than these do from each other."""

    value: float
    rows: int
    low: float
    high: float


def column_rules(
    found: Found, values: pl.Series, *, needed: bool, is_class: bool, is_free: bool, excluded: Sequence[Isolated]
) -> dict[str, Any]:
    """The rules of a column as in the YAML file.

    A `needed` value must be there, one of a class is among those seen, and of a column that is free only the type is
    known: ids and times go on. Rows with `excluded` values break the rules.
    """
    rules: dict[str, Any] = {"type": found.type}
    if found.format:
        rules["format"] = found.format
    if needed:
        rules["nullable"] = False
    if is_free:
        return rules
    filled = values.drop_nulls()
    if is_class:
        return rules if found.type == "boolean" else rules | {"one_of": sorted(filled.unique().to_list())}
    if len(filled) == len(values):
        rules["nullable"] = False
    if found.type in {"int64", "float64"}:
        kept = filled.filter(~filled.is_in([one.value for one in excluded])) if excluded else filled
        if kept.dtype.is_float():
            kept = kept.filter(kept.is_finite())
        rules |= _range(kept, whole=found.type == "int64")
    if found.type == "string" and found.decimal is None and (choices := _choices(filled)):
        rules["one_of"] = choices
    return rules


def _range(filled: pl.Series, *, whole: bool) -> dict[str, Any]:
    low, high = float(filled.min() or 0), float(filled.max() or 0)  # type: ignore[arg-type]
    slack = SLACK * (high - low) or abs(high) or 1.0
    bounds = {"min": 0.0 if low >= 0 else _rounded(low - slack, math.floor), "max": _rounded(high + slack, math.ceil)}
    return {name: int(bound) if whole or bound.is_integer() else bound for name, bound in bounds.items()}


def _rounded(value: float, towards: Any) -> float:
    """A number rounded to one or two digits that count."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{towards(value / unit) * unit:.6g}")


def _choices(filled: pl.Series) -> list[str]:
    counts = filled.value_counts(name="rows")
    if counts.height > FEW or counts.height * ROWS_A_VALUE > len(filled):
        return []
    texts = sorted(counts[filled.name].to_list())
    return [] if any("{{" in text for text in texts) else texts  # Dagster takes that for a template


def isolated(values: pl.Series) -> list[Isolated]:
    """The least and the greatest value where they lie farther from all others than these do from each other."""
    filled = values.drop_nulls()
    if not filled.dtype.is_numeric() or filled.n_unique() < FEWEST_VALUES:
        return []
    times = 1 if filled.n_unique() > MANY_VALUES else FAR_FROM_FEW
    ordered = filled.unique().sort().cast(pl.Float64)
    found = []
    for value, rest in ((ordered[0], ordered[1:]), (ordered[-1], ordered[:-1])):
        low, high = float(rest[0]), float(rest[-1])
        if max(low - value, value - high) > times * (high - low):
            found.append(Isolated(float(value), int((filled == value).sum()), low, high))
    return found


def is_rare(one: Isolated, rows: int) -> bool:
    """Whether so few rows have such a value that it is a slip, and no sign for unknown."""
    return one.rows <= max(1, RARE * rows)
