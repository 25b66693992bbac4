"""What each column holds, in one row for a person: type, missing, different values, range or examples."""

from dataclasses import dataclass

import polars as pl

from ml_platform.onboarding.columns import Found

EXAMPLES = 3
PRECISION = 4


@dataclass(frozen=True)
class Profile:
    """A column in words and figures."""

    name: str
    type: str
    missing: float
    distinct: int
    values: str


def profile_of(found: Found, values: pl.Series) -> Profile:
    """The profile of a column in its type."""
    filled = values.drop_nulls()
    written = f"{found.type} {found.format}" if found.format else found.type
    if found.decimal:
        written = f"text, decimal {found.decimal}"
    return Profile(
        found.name,
        written,
        1 - len(filled) / max(1, len(values)),
        filled.n_unique(),
        _span(filled) if filled.dtype.is_numeric() or filled.dtype.is_temporal() else _examples(filled),
    )


def _span(filled: pl.Series) -> str:
    low, high = filled.min(), filled.max()
    if filled.dtype.is_numeric():
        return f"{_number(low)} to {_number(high)}"
    return f"{str(low)[:16]} to {str(high)[:16]}"


def _number(value: object) -> str:
    return f"{value}" if isinstance(value, int) else f"{value:.{PRECISION}g}"


def _examples(filled: pl.Series) -> str:
    frequent = filled.value_counts(sort=True, name="rows")[filled.name].head(EXAMPLES)
    return ", ".join(str(one) for one in frequent)
