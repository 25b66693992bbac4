"""What is odd in rows without giving anything away: values that cannot be read, repeats, drift, thin classes."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime

import polars as pl

from ml_platform.ml.contract import TRUNCATION
from ml_platform.onboarding.columns import figure, plain, unreadable
from ml_platform.onboarding.dangers import Danger
from ml_platform.onboarding.rules import is_rare, isolated
from ml_platform.onboarding.schedule import Schedule
from ml_platform.use_case import Task

ALL = "all rows"
QUARANTINED = "those rows go to quarantine"
UNKNOWN = "add it to source.missing and remove nullable: false, or make it null in a transform"
KEPT = "kept; look at it"
TWINS = 0.001
DRIFT, SIGMAS = 0.25, 6.0
SMALL_FIRST = 1 / 3
EMPTY, FILLED = 0.9, 0.5
FEWEST_OF_A_CLASS = 40
EXAMPLES = 3
EPOCHS = (946_684_800, 2_145_916_800)
"""Seconds since 1970 at the beginnings of 2000 and 2038."""


def odd_values(raw: pl.DataFrame, typed: pl.DataFrame) -> Iterator[Danger]:
    """Values that do not fit their column: unreadable, far from all others, or written in several ways."""
    for name in typed.columns:
        lost = unreadable(raw, typed, name)
        if len(lost):
            shown = ", ".join(f"'{one}'" for one in lost.unique(maintain_order=True).head(EXAMPLES))
            yield Danger(name, f"has {len(lost):,} values that are no {_word(typed[name])}: {shown}", QUARANTINED)
        for one in isolated(typed[name]):
            done = QUARANTINED if is_rare(one, typed.height) else f"kept; if it stands for unknown, {UNKNOWN}"
            lies = f"is {one.value:g} in {one.rows:,} rows, all others lie between {one.low:g} and {one.high:g}"
            yield Danger(name, lies, done)
        if typed.schema[name] == pl.Int64 and (epoch := _epoch(typed[name])):
            done = "read as a number; to cut the rows by it, write it as a date at the source and give --time"
            yield Danger(name, f"looks like seconds since 1970, from {epoch[0]:%Y-%m-%d} to {epoch[1]:%Y-%m-%d}", done)
        if typed.schema[name] == pl.String:
            yield from _variants(typed[name])


def _epoch(column: pl.Series) -> tuple[datetime, datetime] | None:
    """The first and the last moment of a column of seconds or milliseconds since 1970, or None where it is none."""
    first, last = figure(column.min()), figure(column.max())
    for unit in (1, 1000):
        if EPOCHS[0] <= first / unit < last / unit <= EPOCHS[1] and column.n_unique() > FEWEST_OF_A_CLASS:
            return datetime.fromtimestamp(first / unit, UTC), datetime.fromtimestamp(last / unit, UTC)
    return None


def _word(column: pl.Series) -> str:
    return "date" if column.dtype.is_temporal() else "number" if column.dtype.is_numeric() else "value of its type"


def _variants(column: pl.Series) -> Iterator[Danger]:
    counts = column.drop_nulls().value_counts(sort=True, name="rows")
    if counts.height > FEWEST_OF_A_CLASS:
        return
    alike = counts.with_columns(plain(counts[column.name]).alias("same"))
    groups = (
        alike.group_by("same", maintain_order=True).agg(pl.col(column.name)).filter(pl.col(column.name).list.len() > 1)
    )
    for words in groups[column.name].head(EXAMPLES).to_list():
        shown = " and ".join(f"'{word}'" for word in words)
        yield Danger(
            column.name, f"has {shown}, which differ in case or spaces only", "kept as different; make them one"
        )


def repeats(rows: pl.DataFrame, key: Sequence[str], repeated: int) -> Iterator[Danger]:
    """Rows that repeat a key, or that are equal in all but it."""
    if repeated:
        yield Danger(
            ", ".join(key), f"does not name {repeated:,} rows alone: they repeat the one of another", QUARANTINED
        )
    content = [name for name in rows.columns if name not in key]
    twins = rows.height - rows.n_unique(content) - repeated
    if content and twins > TWINS * rows.height:
        yield Danger(ALL, f"{twins:,} rows ({twins / rows.height:.1%}) differ from another in the key only", KEPT)


def thin_classes(labels: pl.Series, task: Task) -> Iterator[Danger]:
    """Classes with too few rows to train on and to judge."""
    if task == "regression":
        return
    counts = labels.drop_nulls().value_counts(sort=True, name="rows")
    for value, rows in counts.iter_rows():
        if rows < FEWEST_OF_A_CLASS:
            few = f"is {value} in {rows} rows only; a hold-out of a quarter has {rows // 4}, and gates need ten"
            yield Danger(labels.name, few, "kept; gather more rows, or join classes")


def over_time(
    rows: pl.DataFrame, labels: pl.Series, moments: pl.Series, schedule: Schedule, names: Sequence[str]
) -> Iterator[Danger]:
    """Drift of the target, a first period unlike the others, and columns that are empty at first."""
    period = moments.dt.truncate(TRUNCATION[schedule.every]).cast(pl.Date).alias("period")
    inside = period.is_between(schedule.start, schedule.end, closed="left").fill_null(value=False)
    kept, when = rows.filter(inside), period.filter(inside)
    yield from _drift(labels.filter(inside), moments.filter(inside), schedule)
    counts = when.value_counts(name="rows").sort("period")
    first: date = counts["period"][0]
    usual = figure(counts["rows"].median())
    if counts["rows"][0] < SMALL_FIRST * usual:
        few = f"the first {schedule.every}, from {first}, has {counts['rows'][0]:,} rows; usual are {usual:,.0f}"
        yield Danger(ALL, few, "kept; set partitions.start later to leave it out")
    if schedule.thin:
        begun, rows_then = schedule.thin
        few = f"the last {schedule.every}, from {begun}, has {rows_then:,} rows; usual are {usual:,.0f}"
        yield Danger(ALL, few, "not read: partitions.end lies before it; move it when the rest is there")
    early = when == first
    for name in names:
        gone = kept[name].is_null()
        if early.any() and figure(gone.filter(early).mean()) >= EMPTY and figure(gone.mean()) <= FILLED:
            then, later = figure(gone.filter(early).mean()), figure(gone.filter(~early).mean())
            evidence = f"is missing in {then:.0%} of the rows of the first {schedule.every}, later in {later:.0%}"
            yield Danger(name, evidence, KEPT)


def _drift(labels: pl.Series, moments: pl.Series, schedule: Schedule) -> Iterator[Danger]:
    if not (labels.dtype.is_numeric() or labels.dtype == pl.Boolean):
        return
    values = labels.cast(pl.Float64)
    late = (moments >= schedule.hold_out_start).fill_null(value=False)
    before, after = values.filter(~late).drop_nulls(), values.filter(late).drop_nulls()
    if before.is_empty() or after.is_empty():
        return
    one, other = figure(before.mean()), figure(after.mean())
    spread = figure(values.std())
    chance = SIGMAS * spread * (1 / len(before) + 1 / len(after)) ** 0.5
    if abs(other - one) > max(chance, DRIFT * abs(one)):
        evidence = f"is {one:.3g} on average before {schedule.hold_out_start:%Y-%m-%d} and {other:.3g} after"
        yield Danger(labels.name, evidence, "kept; metrics on the hold-out say what the change costs")


def odd_letters(raw: pl.DataFrame, encoding: str) -> Iterator[Danger]:
    """An encoding that was guessed, with words by which a person sees whether it is right."""
    if encoding == "utf-8":
        return
    texts = [raw[name].drop_nulls().unique() for name, dtype in raw.schema.items() if dtype == pl.String]
    words = pl.concat(texts).str.extract(r"(\w*[^\x00-\x7F]\w*)").drop_nulls().unique().sort().head(EXAMPLES)
    evidence = f"are not in UTF-8 but likely in {encoding}, by which they have {', '.join(words)}"
    yield Danger("texts", evidence, "read like that; if letters look wrong, correct source.encoding")
