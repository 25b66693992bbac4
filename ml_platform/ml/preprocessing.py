"""What becomes of the columns of a table inside the stored pipeline, by what the training rows hold.

It is made of scikit-learn's own parts only, so that any server that has scikit-learn can serve a model.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from ml_platform.use_case import Task

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["number", "time", "category", "many_levels", "text", "identifier", "empty"]

MOST_CATEGORIES = 50
SEVERAL_WORDS = 2  # on average
MOSTLY_DIFFERENT, NEARLY_DIFFERENT = 0.5, 0.95
LETTERS = (3, 4)
HASHED, TEXT_NUMBERS = 4096, 30
FOLDS = 5
LEFT_OUT: dict[Kind, str] = {
    "identifier": "nearly every training row has a value of its own",
    "empty": "no training row has a value",
}
DAY = 86_400.0
MONDAY = 4 * DAY  # the first after the epoch
YEAR = 365.2425 * DAY
CYCLES = {
    # length and beginning in seconds, parts, and whether a time between the middles of two parts belongs to both
    "day": (DAY, 0.0, 8, True),
    "week": (7 * DAY, MONDAY, 7, False),
    "month": (YEAR / 12, 0.0, 4, True),
    "year": (YEAR, 0.0, 12, True),
}


def matrix(rows: pl.DataFrame, columns: Sequence[str]) -> "pd.DataFrame":
    """Rows as the pandas frame a pipeline takes: all that can be a number as float64, all else as text.

    Times are seconds since 1970 (UTC), durations and times of day are seconds, and an infinite number is missing.

    Raises:
        TypeError: a column is nested or of bytes, which no estimator takes.
    """
    chosen = rows.select(columns)
    for name, dtype in chosen.schema.items():
        if dtype.is_nested() or isinstance(dtype, pl.Binary | pl.Object):
            raise TypeError(f"Feature '{name}' is {dtype}; turn it into numbers in the transform, or leave it out.")
    # float64 for all: an integer column with a missing value would lose MLflow's signature
    return pl.DataFrame([as_number(one) if is_number(one.dtype) else one.cast(pl.String) for one in chosen]).to_pandas()


def is_number(dtype: pl.DataType) -> bool:
    """Whether a model gets a column of this type as numbers."""
    return dtype.is_numeric() or dtype.is_temporal() or dtype == pl.Boolean


def as_number(column: pl.Series) -> pl.Series:
    """Numbers, booleans and times as float64, infinite ones as missing."""
    match column.dtype:
        case pl.Date() | pl.Datetime():
            return column.cast(pl.Datetime("us")).dt.epoch("us") / 1e6
        case pl.Duration():
            return column.dt.total_microseconds() / 1e6
        case pl.Time():
            return column.cast(pl.Int64) / 1e9
    numbers = column.cast(pl.Float64).to_frame()
    return numbers.select(pl.when(pl.first().is_finite()).then(pl.first())).to_series()


def kind_of(column: pl.Series) -> Kind:
    """What a column of training rows is taken for."""
    if is_number(column.dtype):
        if as_number(column).drop_nulls().is_empty():
            return "empty"
        return "time" if isinstance(column.dtype, pl.Date | pl.Datetime) else "number"
    filled = column.cast(pl.String).drop_nulls()
    levels = filled.n_unique()
    if levels <= MOST_CATEGORIES:
        return "category" if levels else "empty"
    if has_several_words(filled) and levels >= MOSTLY_DIFFERENT * len(filled):
        return "text"
    return "identifier" if levels >= NEARLY_DIFFERENT * len(filled) else "many_levels"


def has_several_words(texts: pl.Series) -> bool:
    """Whether texts, of which none is missing, are of several words on average."""
    return texts.str.count_matches(r"\S+").sum() >= SEVERAL_WORDS * len(texts)


def preprocessing(features: pl.DataFrame, task: Task, seed: int, *, takes_missing: bool) -> Any:
    """An unfitted transformer of the matrix of such features into numbers.

    Numbers pass, times also as their place in the day, week, month and year. Up to 50 different texts are one-hot
    encoded, an unseen one being none of them; more are replaced by what the label is where they occur (cross-fitted),
    and texts of several words by what pieces of words they have. For an estimator that takes no missing values,
    numbers are imputed by the median, and scaled.

    Raises:
        ValueError: no column can tell rows apart.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import KFold
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

    of: dict[Kind, list[str]] = {}
    for column in features:
        of.setdefault(kind_of(column), []).append(column.name)
    if not of.keys() - LEFT_OUT.keys():
        raise ValueError("no feature tells rows apart: they are identifiers, or have no values; add one.")
    scaled = Pipeline([("impute", SimpleImputer(strategy="median")), ("scale", StandardScaler())])
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    # few whole numbers would be taken for classes
    by_label = TargetEncoder(target_type="continuous" if task == "regression" else "auto", cv=folds)
    times = of.get("time", [])
    steps = [
        ("numbers", "passthrough" if takes_missing else scaled, [*of.get("number", []), *times]),
        *((f"{name} of {time}", _cycle(*cycle), [time]) for time in times for name, cycle in CYCLES.items()),
        (
            "categories",
            OneHotEncoder(handle_unknown="ignore", sparse_output=False),
            of.get("category", []),
        ),
        (
            "many levels",
            by_label if takes_missing else Pipeline([("encode", by_label), ("scale", StandardScaler())]),
            of.get("many_levels", []),
        ),
        *((f"words of {name}", _words(seed), [name]) for name in of.get("text", [])),
        *((reason, "drop", of.get(kind, [])) for kind, reason in LEFT_OUT.items()),
    ]
    return ColumnTransformer(steps, verbose_feature_names_out=False)


def left_out(pipeline: Any) -> dict[str, str]:
    """The columns that a fitted pipeline makes nothing of, and why."""
    steps = pipeline.named_steps["preprocessing"].transformers_
    return {name: reason for reason, _, names in steps if reason in LEFT_OUT.values() for name in names}


def _cycle(length: float, begins: float, parts: int, shared: bool) -> Any:
    """The place of a time in a cycle, as numbers from 0 to 1 that add up to 1; all are 0 for a missing one."""
    import numpy as np
    from sklearn.preprocessing import SplineTransformer

    knots = begins + np.arange(parts + 1)[:, None] * length / parts
    return SplineTransformer(degree=int(shared), knots=knots, extrapolation="periodic", handle_missing="zeros")


def _words(seed: int) -> Any:
    """A text as numbers: its pieces of words, weighed by how rare they are, in the directions that tell most."""
    import numpy as np
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    return Pipeline(
        [
            ("impute", SimpleImputer(missing_values=None, strategy="constant", fill_value="")),
            ("flatten", FunctionTransformer(np.ravel)),
            ("pieces", HashingVectorizer(analyzer="char_wb", ngram_range=LETTERS, n_features=HASHED)),
            ("weigh", TfidfTransformer()),
            ("reduce", TruncatedSVD(TEXT_NUMBERS, random_state=seed)),
        ]
    )
