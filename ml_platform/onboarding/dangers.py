"""What is dangerous in data before anything is trained on it: columns that know the answer, and rows unlike others."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import polars as pl

from ml_platform.ml.leakage import leaks_in
from ml_platform.ml.single_feature import Target, bins_of, looks_like_id, missing_or_not, target_of, with_enough_rows
from ml_platform.use_case import UseCase

LEFT_OUT = "left out of the features"
OUTSTANDING = {"auc": 0.85, "r2": 0.97}
GAP = {"auc": 0.1, "r2": 0.2}
FEWEST_TO_STAND_OUT = 4
FILLED_AUC = 0.75
TOGETHER_MISSING, ONLY_MISSING, MISSING_ROWS = 0.5, 0.95, 20
AFFINE = 0.9995
AFTER = 0.95
FEW_VALUES, MOST_PAIRED = 30, 14
SENTENCE_WORDS = 2.5
SAMPLE = 200_000


@dataclass(frozen=True)
class Danger:
    """What is dangerous in a column, or in all rows; `done` says what is done about it."""

    column: str
    evidence: str
    done: str
    leaves_out: bool = False


def useless(rows: pl.DataFrame, names: list[str]) -> Iterator[Danger]:
    """Columns that no model learns from: one value, or an identifier."""
    for name in names:
        column = rows[name]
        filled = column.drop_nulls()
        if filled.n_unique() <= 1:
            value = f"is '{filled[0]}' in every row that has a value" if len(filled) else "has no value"
            yield Danger(name, value, LEFT_OUT, leaves_out=True)
        elif not column.dtype.is_temporal() and looks_like_id(column) and not _is_sentence(filled):
            evidence = f"is an identifier: {filled.n_unique():,} values in {len(filled):,} rows"
            yield Danger(name, evidence, LEFT_OUT, leaves_out=True)


def _is_sentence(filled: pl.Series) -> bool:
    return filled.dtype == pl.String and float(filled.str.count_matches(r"\S+").mean() or 0) >= SENTENCE_WORDS  # type: ignore[arg-type]


def clocks(rows: pl.DataFrame, names: list[str], time: str) -> Iterator[Danger]:
    """Columns that only ever rise with the event time: the rows to judge on have values that were never trained on."""
    ordered = rows.sort(time)
    for name in names:
        column = ordered[name].drop_nulls()
        if column.dtype.is_numeric() and column.n_unique() > 1 and (column.diff().drop_nulls() >= 0).all():
            yield Danger(
                name,
                f"never falls as {time} goes on: later rows have values that no model was trained on",
                LEFT_OUT,
                leaves_out=True,
            )


def known_later(use_case: UseCase, rows: pl.DataFrame, names: list[str], source: pl.Series, what: str) -> list[Danger]:
    """Columns that give the label away or are filled in only afterwards, each with its strongest evidence.

    `source` is the target's own column of each row, before a label was made of it, and `what` the target in words.
    """
    label = use_case.label.column
    found: dict[str, str] = {}
    labelled = with_enough_rows(use_case, rows.filter(pl.col(label).is_not_null()))
    if labelled.height > SAMPLE:
        labelled = labelled.sample(SAMPLE, seed=0)
    columns = {name: _numeric(labelled[name]) for name in names}
    if not labelled.is_empty():
        for leak in leaks_in(use_case, labelled.with_columns(columns.values())):
            if leak.feature in names:
                found[leak.feature] = leak.evidence
        target = target_of(use_case, labelled)
        found = _outstanding(target, columns, what) | _filled_in(target, columns, what) | found
    found = _missing_with(rows, names, source) | found
    found = _after(rows, names, use_case.contract.event_time) | found
    if not labelled.is_empty():
        rest = {name: column for name, column in columns.items() if name not in found}
        found = _pairs(target, rest, what, use_case.model.leakage.alone_at_most) | found
    for known in [name for name in names if name in found]:
        found = _affine(rows, [name for name in names if name not in found], rows[known]) | found
    found = _affine(rows, [name for name in names if name not in found], source) | found
    return [
        Danger(name, found[name], f"{LEFT_OUT}: it may be known only later", leaves_out=True)
        for name in names
        if name in found
    ]


def _numeric(column: pl.Series) -> pl.Series:
    return column.to_physical().cast(pl.Int64) if column.dtype.is_temporal() else column


def _outstanding(target: Target, columns: Mapping[str, pl.Series], label: str) -> dict[str, str]:
    """Columns that tell the label far better by themselves than all others do."""
    kind, word = ("auc", "a ROC AUC") if target.classes else ("r2", "a share of its variance")
    if len(columns) < FEWEST_TO_STAND_OUT:
        return {}
    scores = sorted(((target.score(bins_of(column)), name) for name, column in columns.items()), reverse=True)
    for place, (score, _) in enumerate(scores[:-1], start=1):
        following, other = scores[place]
        if score < OUTSTANDING[kind]:
            return {}
        if score - following >= GAP[kind]:
            return {
                name: f"alone tells {label} with {word} of {own:.2f}, the next best ({other}) with {following:.2f}"
                for own, name in scores[:place]
            }
    return {}


def _filled_in(target: Target, columns: Mapping[str, pl.Series], label: str) -> dict[str, str]:
    """Columns whose being filled in tells the label."""
    if not target.classes:
        return {}
    found = {}
    for name, column in columns.items():
        if column.has_nulls() and (score := target.score(missing_or_not(column))) >= FILLED_AUC:
            filled = column.is_not_null().to_numpy()
            shares = [float(filled[target.values == place].mean()) for place in range(len(target.classes))]
            most = max(range(len(shares)), key=lambda place: shares[place])
            least = min(range(len(shares)), key=lambda place: shares[place])
            found[name] = (
                f"is filled in for {shares[most]:.0%} of the rows with {label} {target.classes[most]} and for "
                f"{shares[least]:.0%} of those with {target.classes[least]} (ROC AUC {score:.2f})"
            )
    return found


def _missing_with(rows: pl.DataFrame, names: list[str], source: pl.Series) -> dict[str, str]:
    """Columns that are missing where the target is missing: they come with the outcome."""
    gone = source.is_null()
    if gone.sum() < MISSING_ROWS:
        return {}
    found = {}
    for name in names:
        missing = rows[name].is_null()
        both = int((missing & gone).sum())
        if both >= TOGETHER_MISSING * int(gone.sum()) and both >= ONLY_MISSING * int(missing.sum()):
            found[name] = (
                f"is missing where {source.name} is: in {both:,} of those {int(gone.sum()):,} rows, and in "
                f"{int(missing.sum()) - both:,} others"
            )
    return found


def _after(rows: pl.DataFrame, names: list[str], time: str | None) -> dict[str, str]:
    """Dates that lie after the event time."""
    if time is None:
        return {}
    found = {}
    for name in names:
        if rows[name].dtype.is_temporal():
            later = rows.select((pl.col(name).cast(pl.Datetime("us")) > pl.col(time)).mean()).item()
            if later is not None and later >= AFTER:
                found[name] = f"lies after {time} in {later:.1%} of the rows that have it"
    return found


def _pairs(target: Target, columns: Mapping[str, pl.Series], label: str, limit: float) -> dict[str, str]:
    """Pairs of columns with few values that together decide the label."""
    few = {name: column for name, column in columns.items() if column.n_unique() <= FEW_VALUES}
    found: dict[str, str] = {}
    for one, other in combinations(list(few)[:MOST_PAIRED], 2):
        both = few[one].cast(pl.String).fill_null("") + "|" + few[other].cast(pl.String).fill_null("")
        if target.score(bins_of(both)) > limit:
            found[one] = found[other] = f"{one} and {other} together decide {label}"
    return found


def _affine(rows: pl.DataFrame, names: list[str], known: pl.Series) -> dict[str, str]:
    """Columns that are another one, shifted or scaled."""
    if not known.dtype.is_numeric():
        return {name: f"is equal to {known.name}" for name in names if _equal(rows[name], known)}
    found = {}
    for name in names:
        if rows[name].dtype.is_numeric():
            both = pl.DataFrame({"one": rows[name], "other": known}).select(pl.corr("one", "other")).item()
            if both is not None and abs(both) >= AFFINE:
                found[name] = f"is {known.name}, shifted or scaled (correlation {both:.4f})"
    return found


def _equal(one: pl.Series, other: pl.Series) -> bool:
    return one.dtype == other.dtype and bool(one.eq_missing(other).all())
