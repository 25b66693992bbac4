"""What names a row, says when it happened, and what several rows belong to: proposals, with the reason."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from ml_platform.onboarding.columns import Found
from ml_platform.use_case.words import RESERVED, SCORES

NAMED = re.compile(r"(^|_)(id|key|uuid|guid|nr|no|number|code|index|ref)(_|$)|id$", re.IGNORECASE)
OTHER_TIMES = re.compile(r"birth|born|dob|updat|modif|clos|end|due|expir|valid|cancel|churn|last", re.IGNORECASE)
NEARLY = 0.98
MOST_TOGETHER = 4
SHORTEST_SPAN = timedelta(days=14)
MISSING_TIMES = 0.05
ENTITY_ROWS = 2.0
ENTITY_VALUES = 50


@dataclass(frozen=True)
class Key:
    """The columns that name a row, how many rows repeat one, and why they were chosen; no columns: a row number."""

    columns: tuple[str, ...]
    repeated: int
    reason: str


def choose_key(rows: pl.DataFrame, found: dict[str, Found], others: Sequence[str], time: str | None) -> Key:
    """A unique column, one that is nearly unique, a few that are unique together, or a row number.

    `others` are columns that cannot be in a key, such as the target.
    """
    usable = [
        name
        for name, one in found.items()
        if name not in {*others, *SCORES} and one.type not in {"float64", "boolean"} and not RESERVED.fullmatch(name)
    ]
    counts = {name: rows[name].n_unique() for name in usable if not rows[name].has_nulls()}
    single = sorted((name for name in counts if name != time), key=lambda name: not NAMED.search(name))
    for name in single:
        if counts[name] == rows.height:
            return Key((name,), 0, f"every row has its own {name}")
    for name in single:
        if counts[name] >= NEARLY * rows.height:
            return Key((name,), rows.height - counts[name], f"{rows.height - counts[name]:,} rows repeat one")
    distinct = rows.n_unique()
    names, reached = _together(rows, counts, time, distinct)
    if reached == distinct:
        equal = f"; {rows.height - distinct:,} rows are equal to another" if distinct < rows.height else ""
        return Key(names, rows.height - distinct, f"no column is unique, these together are{equal}")
    return Key((), 0, f"no column is unique, nor are up to {MOST_TOGETHER} together")


def _together(
    rows: pl.DataFrame, counts: dict[str, int], time: str | None, distinct: int
) -> tuple[tuple[str, ...], int]:
    """Columns added one by one, each the one that tells most rows apart, and how many rows they tell apart."""
    if not counts:
        return (), 0
    names = [time if time in counts else max(counts, key=lambda name: counts[name])]
    reached = counts[names[0]]
    while reached < distinct and len(names) < MOST_TOGETHER:
        further = {name: rows.select(*names, name).n_unique() for name in counts if name not in names}
        if not further:
            break
        best = max(further, key=lambda name: further[name])
        names, reached = [*names, best], further[best]
    return tuple(names), reached


def key_of(rows: pl.DataFrame, names: Sequence[str]) -> Key:
    """A key that was given."""
    repeated = rows.height - rows.select(names).n_unique()
    return Key(tuple(names), repeated, f"as given; {repeated:,} rows repeat one" if repeated else "as given")


def likely_times(rows: pl.DataFrame, found: dict[str, Found], target: str) -> list[str]:
    """The columns that may say when a row happened, the likeliest first.

    They are filled in and span two weeks or more; an event comes before what follows it, and has no name of another
    moment, such as a birth.
    """
    medians = {}
    for name, one in found.items():
        if one.type not in {"datetime", "date"} or name == target:
            continue
        moments = rows[name].cast(pl.Datetime("us")).drop_nulls()
        if len(moments) < (1 - MISSING_TIMES) * rows.height:
            continue
        if moments.quantile(0.99) - moments.quantile(0.01) >= SHORTEST_SPAN:  # type: ignore[operator]
            medians[name] = moments.median()
    return sorted(medians, key=lambda name: (bool(OTHER_TIMES.search(name)), medians[name]))


def repeating_ids(rows: pl.DataFrame, found: dict[str, Found], others: Sequence[str]) -> dict[str, int]:
    """The columns that look like ids of what several rows belong to, and how many values they have."""
    counts = {
        name: rows[name].n_unique()
        for name, one in found.items()
        if name not in others and one.type in {"int64", "string"} and NAMED.search(name)
    }
    return {name: count for name, count in counts.items() if ENTITY_VALUES <= count <= rows.height / ENTITY_ROWS}
