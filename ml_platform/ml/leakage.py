"""Leaks: features that give the label away, rows that are trained on and judged on, features of later rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from ml_platform.ml.preprocessing import is_number
from ml_platform.ml.single_feature import (
    Bins,
    Target,
    bins_of,
    looks_like_id,
    missing_or_not,
    target_of,
    with_enough_rows,
)
from ml_platform.ml.training import feature_columns
from ml_platform.use_case import UseCase

Kind = Literal[
    "copy of the label",
    "missing where the label says",
    "id that tells the label",
    "tells the label alone",
    "rows in both",
    "entities in both",
    "twins in both",
    "twins of no entity in both",
    "computed from rows after the event",
]

SAME_ORDER = 0.999
PURE_ROWS = 5
BY_CHANCE = 1e-6
ID_AUC, ID_R2 = 0.6, 0.1
CHANCE_AUC = 0.5
ID_ERRORS = 6.0  # both ways of the cross-fit find the same chance, which makes their mean err more
DISTINCT, TWINS = 0.9, 0.05
RELATIVE, ABSOLUTE = 1e-6, 1e-9

_KEPT_OUT = (
    "leave the feature out with features.columns, mend the transform, or, if it really is known before the label, "
    "name it in model.leakage.allowed"
)
_REMEDIES: Mapping[Kind, str] = {
    "copy of the label": _KEPT_OUT,
    "missing where the label says": _KEPT_OUT,
    "id that tells the label": _KEPT_OUT,
    "tells the label alone": _KEPT_OUT,
    "rows in both": "give each row a key of its own, and look at what repeats rows",
    "entities in both": "hold out entities whole",
    "twins in both": "remove the repeated rows at the source",
    "twins of no entity in both": (
        "remove the repeated rows at the source, or name what they belong to in contract.entity"
    ),
    "computed from rows after the event": "let the transform look only at rows up to each row's own time",
}


@dataclass(frozen=True)
class Leak:
    """A leak by the feature or columns it is in; `evidence` goes on from that name to a sentence."""

    feature: str
    kind: Kind
    evidence: str

    def __str__(self) -> str:
        return f"{self.feature} {self.evidence}"


def told(leaks: Sequence[Leak]) -> str:
    """What leaks and what to do about it, in a sentence."""
    remedies = dict.fromkeys(_REMEDIES[leak.kind] for leak in leaks)
    found = {remedy: ", ".join(str(leak) for leak in leaks if _REMEDIES[leak.kind] == remedy) for remedy in remedies}
    return "; ".join(f"{leaking}: {remedy}" for remedy, leaking in found.items()) + "."


def leaks_in(use_case: UseCase, rows: pl.DataFrame) -> list[Leak]:
    """The features that give the label of training rows away, each by its most telling kind.

    Of a class with fewer than 10 rows, or a regression with fewer than 20, nothing is said.
    """
    judged = with_enough_rows(use_case, rows)
    if judged.is_empty():
        return []
    target = target_of(use_case, judged)
    names = [name for name in feature_columns(use_case, rows.columns) if name not in use_case.model.leakage.allowed]
    # nested values are refused by the training, in a sentence of its own
    columns = [judged[name] for name in names if not rows[name].dtype.is_nested()]
    return [leak for column in columns if (leak := _leak(use_case, column, target))]


def _leak(use_case: UseCase, column: pl.Series, target: Target) -> Leak | None:
    label, limit = use_case.label.column, use_case.model.leakage.alone_at_most
    bins = bins_of(column)
    if copied := _copied(column, target, bins, label):
        return Leak(column.name, "copy of the label", copied)
    score = target.score(bins)
    too_well = _above(limit, target, score)
    if too_well and _above(limit, target, target.score(missing_or_not(column))):
        return Leak(column.name, "missing where the label says", _missing(column, target, label))
    measure = f"a ROC AUC of {score:.4g}" if target.classes else f"{score:.2%} of its variance explained"
    if _beyond_chance(target, score) and looks_like_id(column):
        values = f"is an id ({column.n_unique():,} values in {len(column):,} rows) and yet tells {label}"
        return Leak(column.name, "id that tells the label", f"{values} with {measure}")
    if too_well:
        return Leak(column.name, "tells the label alone", f"alone tells {label} with {measure} (at most {limit:g})")
    return None


def _above(limit: float, target: Target, score: float) -> bool:
    """Whether a score is above the limit by more than its standard error: of few rows chance lifts a fair one there."""
    return score > limit and score - target.error(score) > limit


def _copied(column: pl.Series, target: Target, bins: Bins, label: str) -> str | None:
    if not target.classes:
        same = target.rank_correlation(column) if is_number(column.dtype) else np.nan
        return f"orders the rows as {label} does (rank correlation {same:.4f})" if abs(same) >= SAME_ORDER else None
    if not bins.by_value:
        return None
    counts = target.counts(bins).sum(axis=0)
    classes = counts.sum(axis=0)
    for values in (counts, counts[:-1]):  # a missing value may be one of them, or hide a part of the copy
        pure = (np.count_nonzero(values, axis=1) <= 1).all() and (values.max(axis=0, initial=0) >= PURE_ROWS).all()
        # with few rows that are filled in, chance may do it
        if pure and np.sum(values * np.log(classes / classes.sum())) <= np.log(BY_CHANCE):
            return f"has {np.count_nonzero(values.sum(axis=1))} values, and each goes with one {label} only"
    return None


def _missing(column: pl.Series, target: Target, label: str) -> str:
    filled = missing_or_not(column).codes == 0
    if not target.classes:
        there, gone = (float(target.values[mask].mean()) for mask in (filled, ~filled))
        return (
            f"is filled in or missing as {label} is high or low (on average {there:+.4g} and {gone:+.4g} off its mean)"
        )
    shares = [np.mean(filled[target.values == one]) for one in range(len(target.classes))]
    most = int(np.argmax(shares))
    others = np.mean(filled[target.values != most])
    return (
        f"is filled in almost only where {label} is {target.classes[most]} "
        f"({shares[most]:.1%} of those rows, {others:.1%} of the others)"
    )


def _beyond_chance(target: Target, score: float) -> bool:
    """Whether a score is clearly better than one of chance would be, which differs the more the fewer the rows are."""
    if not target.classes:
        return score >= max(ID_R2, ID_ERRORS**2 / len(target.values))
    return score >= max(ID_AUC, CHANCE_AUC + ID_ERRORS * target.error(CHANCE_AUC))


def shared_between(use_case: UseCase, train: pl.DataFrame, hold_out: pl.DataFrame) -> list[Leak]:
    """What rows to train on and to judge on have in common: keys, entities (without partitions), equal rows.

    Equal rows count where at least 90 % of the training rows differ in their features, from 5 % of the hold-out on.
    """
    contract = use_case.contract
    key = contract.identity
    leaks = [_in_both("rows in both", key, train, hold_out, "rows to judge on are rows to train on too")]
    if use_case.windows is None and contract.entity is not None and contract.entity in train.columns:
        sentence = "entities to judge on are trained on too"
        leaks.append(_in_both("entities in both", [contract.entity], train, hold_out, sentence))
    features = list(feature_columns(use_case, train.columns))
    if features and train.n_unique(features) >= DISTINCT * train.height:
        content = [*features, use_case.label.column]
        twins = hold_out.join(train, on=content, how="semi", nulls_equal=True)
        if twins.height > TWINS * hold_out.height:
            share = f"{twins.height:,} of {hold_out.height:,} rows ({twins.height / hold_out.height:.0%})"
            sentence = f"has {share} to judge on with the features and the label of a row to train on"
            # an entity is held out whole without partitions only
            mended = use_case.windows is None and contract.entity is None
            kind: Kind = "twins of no entity in both" if mended else "twins in both"
            leaks.append(Leak("the hold-out", kind, f"{sentence}, such as {_example(twins, contract.key)}"))
    return [leak for leak in leaks if leak]


def _in_both(kind: Kind, names: list[str], train: pl.DataFrame, hold_out: pl.DataFrame, sentence: str) -> Leak | None:
    judged = hold_out.select(names).unique(maintain_order=True)
    shared = judged.join(train, on=names, how="semi")
    if shared.is_empty():
        return None
    found = f"names {shared.height:,} of {judged.height:,}"
    return Leak(", ".join(names), kind, f"{found} {sentence}, such as {_example(shared, names)}")


def _example(rows: pl.DataFrame, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(names, rows.select(names).row(0), strict=True))


def reaches_ahead(computed: pl.DataFrame, cut: pl.DataFrame, key: Sequence[str], features: Sequence[str]) -> list[Leak]:
    """The features that differ between rows computed from all data, and from the data up to a moment (`cut`).

    Rows are found by their key; those without one, with one of several rows, or in one frame only are left out.
    Floats differ beyond a relative 1e-6 and an absolute 1e-9; a NaN is a missing value.
    """
    ours, theirs = (
        frame.select(key).with_row_index(place).unique(key, keep="none")
        for frame, place in ((computed, "__computed"), (cut, "__cut"))
    )
    pairs = ours.join(theirs, on=key).sort("__computed")
    before, after = computed[pairs["__computed"]], cut[pairs["__cut"]]
    leaks = []
    for name in features:
        if name not in cut.columns:
            leaks.append(Leak(name, "computed from rows after the event", "is no feature once later rows are left out"))
            continue
        both = pl.DataFrame({"with": before[name], "without": after[name]})
        differing = both.select(_differs(both.schema)).to_series().arg_true()
        if len(differing):
            row = differing[0]
            evidence = (
                f"differs in {len(differing):,} of {both.height:,} rows once later rows are left out "
                f"({_example(before[row], key)}: {both['with'][row]} with them, {both['without'][row]} without)"
            )
            leaks.append(Leak(name, "computed from rows after the event", evidence))
    return leaks


def _differs(schema: pl.Schema) -> pl.Expr:
    one, other = pl.col("with"), pl.col("without")
    if all(isinstance(dtype, pl.Date | pl.Datetime) for dtype in schema.values()):  # of whatever unit and time zone
        return one.cast(pl.Datetime("us")).ne_missing(other.cast(pl.Datetime("us")))
    if not all(dtype.is_numeric() or dtype in (pl.Boolean, pl.Null) for dtype in schema.values()):
        return one.cast(pl.String).ne_missing(other.cast(pl.String))
    if schema["with"] == schema["without"] and not schema["with"].is_float():
        return one.ne_missing(other)
    one, other = (value.cast(pl.Float64).fill_nan(None) for value in (one, other))
    far = (one - other).abs() > ABSOLUTE + RELATIVE * other.abs()
    # an infinite tolerance would let everything pass
    return one.ne_missing(other) & (far | ~other.is_finite()).fill_null(value=True)
