"""How well one feature by itself tells the label: learned on one half of the rows, scored on the other."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml_platform.ml.labels import label_of
from ml_platform.ml.metrics import METRICS, Floats
from ml_platform.ml.preprocessing import as_number, has_several_words, is_number
from ml_platform.use_case import UseCase

MOST_BINS = 64
ROWS_A_BIN = 10
FEWEST_ROWS = 10
ID_ROWS = 100
ID_DIFFERENT = 0.95
ID_STEP = 3
RANKED_ROWS = 5_000
QUANTILES_OF = 8_192
TIE_BREAK = 1e-6

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Bins:
    """The bin of each row, 0 to `count` - 1, the last being for missing values; `by_value`: each value has its own."""

    codes: Positions
    count: int
    by_value: bool


@dataclass(frozen=True)
class Target:
    """The label of each row: the place of its class in `classes`, or without classes its distance from the mean.

    `order` is the rows at random. `cell` says in which half a row is, each class being in both, and of which class:
    half * classes + class, or the half without classes. `rarest` is the number of rows of the rarest class.
    """

    values: Floats
    classes: tuple[str, ...]
    order: Positions
    cell: Positions
    rarest: int

    def counts(self, bins: Bins) -> Floats:
        """The number of rows by half, bin and class (one without classes), shape (2, bins, classes)."""
        return self._by_bin(bins, None).astype(np.float64)

    def score(self, bins: Bins) -> float:
        """The mean one-vs-rest ROC AUC of each bin's share of the class, or R2 of each bin's mean label; cross-fitted.

        What the bins mean is learned on one half and scored on the other; it is the mean of both ways.
        """
        counts = self.counts(bins)
        rows = counts.sum(axis=2)
        if self.classes:
            return float(np.mean([_roc_auc(counts[1 - half], counts[half]) for half in (0, 1)]))
        sums = self._by_bin(bins, self.values)[..., 0]
        squares = np.bincount(self.cell, self.values**2)
        return float(
            np.mean([_r2(rows[1 - half], sums[1 - half], rows[half], sums[half], squares[half]) for half in (0, 1)])
        )

    def error(self, score: float) -> float:
        """The standard error of a score from as many rows, for the rarest class.

        That of a ROC AUC is Hanley and McNeil's (1982), that of R2 Olkin and Finn's (1995).
        """
        rows = len(self.values)
        if not self.classes:
            return float(2 * np.sqrt(max(score, 0)) * (1 - score) / np.sqrt(rows))
        both_above = (self.rarest - 1) * (score / (2 - score) - score**2)
        both_below = (rows - self.rarest - 1) * (2 * score**2 / (1 + score) - score**2)
        return float(np.sqrt((score * (1 - score) + both_above + both_below) / (self.rarest * (rows - self.rarest))))

    def rank_correlation(self, column: pl.Series) -> float:
        """Spearman's rank correlation of a feature and the label where it is not missing, nan for too few rows.

        It is that of some thousand rows drawn at random.
        """
        drawn = self.order[:RANKED_ROWS]
        both = pl.DataFrame({"label": self.values[drawn], "feature": _numbers(column)[drawn]}).filter(
            pl.col("feature").is_not_nan()
        )
        if both.height < 2 * FEWEST_ROWS:
            return np.nan
        return float(both.select(pl.corr("label", "feature", method="spearman")).item())

    def _by_bin(self, bins: Bins, weights: Floats | None) -> NDArray[Any]:
        """The number of rows, or the sum of their weights, by half, bin and class."""
        classes = max(1, len(self.classes))
        counted = np.bincount(bins.codes * (2 * classes) + self.cell, weights, minlength=bins.count * 2 * classes)
        return counted.reshape(bins.count, 2, classes).swapaxes(0, 1)


def with_enough_rows(use_case: UseCase, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the classes that have enough rows to say anything about them; none where only one class has."""
    if use_case.task == "regression":
        return rows if rows.height >= 2 * FEWEST_ROWS else rows.clear()
    label = label_of(rows, use_case)
    counted = label.alias("class").value_counts(name="rows")
    frequent = counted.filter(pl.col("rows") >= FEWEST_ROWS)
    if frequent.height <= 1:
        return rows.clear()
    return rows if frequent.height == counted.height else rows.filter(label.is_in(frequent["class"].to_list()))


def target_of(use_case: UseCase, rows: pl.DataFrame) -> Target:
    """The label of rows, with the halves that the seed of the model draws."""
    label = label_of(rows, use_case)
    order = np.random.default_rng(use_case.model.seed).permutation(rows.height)
    half = np.empty(rows.height, np.int64)
    if use_case.task == "regression":
        values = label.cast(pl.Float64).to_numpy()
        half[order] = np.arange(rows.height) % 2
        return Target(values - values.mean(), (), order, half, rows.height)
    classes = label.unique().sort()
    codes = label.replace_strict(classes, pl.int_range(len(classes), eager=True)).to_numpy()
    half[order[np.argsort(codes[order], kind="stable")]] = np.arange(rows.height) % 2
    names = tuple(f"{one:g}" if isinstance(one, float) else str(one) for one in classes)
    return Target(codes.astype(np.float64), names, order, half * len(classes) + codes, int(np.bincount(codes).min()))


def bins_of(column: pl.Series) -> Bins:
    """A feature in bins of ten rows or more on average, and one for missing values.

    Numbers and booleans: by value, or by quantile where there are more than 64. Text: the most frequent values, however
    many, as the model learns each of them, and one bin for all others; by alphabet where nearly all are different.
    """
    most = max(1, min(MOST_BINS, len(column) // ROWS_A_BIN))
    if is_number(column.dtype):
        return _number_bins(_numbers(column), most)
    text = column.cast(pl.String).alias("value")
    if _nearly_all_different(text.drop_nulls()):
        return _number_bins(_numbers(text.rank("dense")), most)
    counted = text.drop_nulls().value_counts(name="rows").sort("rows", "value", descending=[True, False])
    frequent = counted["value"].head(max(1, len(column) // ROWS_A_BIN))
    codes = text.cast(pl.Enum(frequent), strict=False).to_physical().cast(pl.Int64).fill_null(len(frequent))
    return Bins(np.where(text.is_null(), len(frequent) + 1, codes), len(frequent) + 2, by_value=counted.height <= most)


def missing_or_not(column: pl.Series) -> Bins:
    """A feature in two bins: where it has a value, and where it has none."""
    missing = np.isnan(_numbers(column)) if is_number(column.dtype) else column.is_null().to_numpy()
    return Bins(missing.astype(np.int64), 2, by_value=False)


def looks_like_id(column: pl.Series) -> bool:
    """Whether nearly all values are different, and single words or whole numbers that lie as close as numbered ones.

    Amounts that are nearly all different lie far apart: chance would repeat them if they did not.
    """
    filled = column.drop_nulls()
    if filled.dtype.is_float():
        filled = filled.drop_nans()
    if filled.dtype == pl.Boolean or filled.dtype.is_temporal() or not _nearly_all_different(filled):
        return False
    if not is_number(filled.dtype):
        return not has_several_words(filled.cast(pl.String))
    if not filled.dtype.is_integer() and not (filled.is_finite() & (filled == filled.floor())).all():
        return False
    steps = filled.cast(pl.Int64, strict=False).unique().sort().diff().drop_nulls().to_numpy()
    return float(np.median(steps // np.gcd.reduce(steps))) <= ID_STEP


def _nearly_all_different(filled: pl.Series) -> bool:
    return len(filled) > ID_ROWS and filled.n_unique() >= ID_DIFFERENT * len(filled)


def _numbers(column: pl.Series) -> Floats:
    """Numbers, booleans and times as float64, missing values as nan."""
    return as_number(column).fill_null(np.nan).to_numpy()


def _number_bins(values: Floats, most: int) -> Bins:
    missing = np.isnan(values)
    filled = values[~missing]
    # quantiles of some thousand values do as well, and sorting all takes as long as everything else
    ordered = np.sort(filled[:: max(1, filled.size // QUANTILES_OF)])
    if _distinct(ordered).size <= most:
        ordered = np.sort(filled)
    edges = _distinct(ordered)
    by_value = edges.size <= most
    if not by_value:
        edges = _distinct(ordered[np.arange(1, most) * ordered.size // most])
    codes = np.searchsorted(edges, values)
    codes[missing] = edges.size + 1
    return Bins(codes, edges.size + 2, by_value)


def _distinct(ordered: Floats) -> Floats:
    return np.concatenate((ordered[:1], ordered[1:][ordered[1:] != ordered[:-1]]))


def _roc_auc(learned: Floats, scored: Floats) -> float:
    """The mean over the classes, from the rows by bin and class of the halves learned and scored on."""
    around = np.pad(learned, ((1, 1), (0, 0)))
    expected = learned.sum(axis=0) / learned.sum()
    # a bin of few rows may show no row of a class by chance, where the bins around it tell numbers apart
    shares = _shares(learned, expected) + TIE_BREAK * _shares(around[:-2] + around[2:], expected)
    truth = np.repeat([1.0, 0.0], len(learned))
    others = scored.sum(axis=1)
    auc = METRICS["binary_classification"]["roc_auc"]
    return float(
        np.mean(
            [
                auc.values(truth, np.tile(share, 2), np.concatenate((own, others - own))[None])
                for share, own in zip(shares.T, scored.T, strict=True)
            ]
        )
    )


def _shares(counts: Floats, expected: Floats) -> Floats:
    """The share of each class in each bin; the expected one in bins without rows."""
    rows = counts.sum(axis=1, keepdims=True)
    return np.where(rows > 0, counts / np.maximum(rows, 1), expected)


def _r2(learned_rows: Floats, learned_sums: Floats, rows: Floats, sums: Floats, squares: float) -> float:
    """1 - squared errors / squared deviations from the mean, from the labels' sums by bin; nan if they do not vary."""
    expected = learned_sums.sum() / learned_rows.sum()
    means = np.where(learned_rows > 0, learned_sums / np.maximum(learned_rows, 1), expected)
    deviations = squares - sums.sum() ** 2 / rows.sum()
    errors = squares - 2 * means @ sums + means**2 @ rows
    return float(1 - errors / deviations) if deviations > 0 else np.nan
