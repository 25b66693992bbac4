"""Parity of a stored model with the trained one: the same scores for rows together, for one alone, and from raw rows.

Values are the same if they differ by at most `TOLERANCE`, in units of the greatest of them where that is above 1.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from ml_platform.blocks import write_duration
from ml_platform.ml.features import transformed
from ml_platform.ml.preprocessing import is_number
from ml_platform.ml.training import TrainedModel
from ml_platform.use_case import UseCase

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TOLERANCE = 1e-9
MOST_ROWS = 500
ALONE = 20
UNSEEN = "a value that no training row has"
MOST_NAMED = 3


@dataclass(frozen=True)
class RawRows:
    """What the features of a sample are made again of: validated rows, those of the lookback among them, and inputs."""

    use_case: UseCase
    validated: pl.DataFrame
    inputs: Mapping[str, pl.DataFrame] = field(default_factory=dict)


def sample(rows: pl.DataFrame) -> pl.DataFrame:
    """At most `MOST_ROWS` of some rows, evenly spread."""
    return rows.gather_every(max(1, -(-rows.height // MOST_ROWS)))


def difference(
    model: TrainedModel, rows: pl.DataFrame, scores: "NDArray[np.float64]", raw: RawRows | None = None
) -> str | None:
    """How a stored model differs from the trained one, which gave these rows of features these scores, or None.

    There is at least one row. A missing value in any column and an unseen one in a column of text must get a finite
    score. `raw` has the rows that the features of all the given ones are made of; with partitions, one of them is also
    made of the rows of its lookback alone.
    """
    reasons = _reasons(model, rows, scores, raw)
    return next((reason for reason in reasons if reason is not None), None)


def told(error: BaseException) -> str:
    """An error as the end of a sentence: its type and the first line of what it says."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}".rstrip(" .:")


def _reasons(
    model: TrainedModel, rows: pl.DataFrame, scores: "NDArray[np.float64]", raw: RawRows | None
) -> Iterator[str | None]:
    import numpy as np

    limit = TOLERANCE * float(np.abs(scores).max(initial=1.0))
    yield _compared(
        lambda: model.predict(rows),
        scores,
        limit,
        "the stored model in a fresh process",
        "the estimator is not stored as it was fitted: choose another, or store all that fit() learns in it",
    )
    yield _compared(
        lambda: np.concatenate([model.predict(row) for row in rows.head(ALONE).iter_slices(1)]),
        scores[:ALONE],
        limit,
        "the stored model with one row alone",
        "a score must not depend on the other rows: choose another estimator",
    )
    if raw is not None:
        yield _from_raw(model, rows, scores, limit, raw)
    for name in model.columns:
        yield _unusual(model, rows.head(1), name)


def _compared(
    predicted: Callable[[], "NDArray[np.float64]"], scores: "NDArray[np.float64]", limit: float, what: str, advice: str
) -> str | None:
    """How scores differ from those of training, as a sentence."""
    import numpy as np

    try:
        found = predicted()
    except Exception as error:  # whatever an estimator raises
        return f"{what} crashes: {told(error)}; {advice}."
    if found.shape != scores.shape:
        return f"{what} gives scores of shape {found.shape}, training those of {scores.shape}; {advice}."
    finite = np.isfinite(found).reshape(len(found), -1).all(axis=1)
    if not finite.all():
        return f"{what} gives {(~finite).sum()} of {len(found)} rows no finite score; {advice}."
    distance = np.abs(found - scores)
    differing = ~(distance <= limit).reshape(len(found), -1).all(axis=1)
    if not differing.any():
        return None
    return (
        f"{what} scores {differing.sum()} of {len(found)} rows differently from training, by up to "
        f"{distance.max():.2g}; {advice}."
    )


def _from_raw(
    model: TrainedModel, rows: pl.DataFrame, scores: "NDArray[np.float64]", limit: float, raw: RawRows
) -> str | None:
    """How features and scores differ that are made again of the validated rows as they were known at the last row."""
    from ml_platform.ml.leakage import reaches_ahead
    from ml_platform.ml.leakage import told as leaks_told

    use_case, contract = raw.use_case, raw.use_case.contract
    source, named = use_case.features.transform or "the validated data", use_case.contract.identity
    moment = rows[contract.event_time].max() if contract.event_time else None
    known = raw.validated if moment is None else known_at(use_case, raw.validated, moment)
    try:
        again = _made_again(raw, rows, known)
        if again.height != rows.height:
            made = f"{source} makes {again.height} rows of features of {rows.height} validated rows"
            return f"{made}; it must make one each."
        if leaks := reaches_ahead(rows, again, named, model.columns):
            # where all rows of the partition give the same as in training, the later ones make the difference
            full = again if moment is None else _made_again(raw, rows, raw.validated)
            names = _named([leak.feature for leak in leaks])
            if moment is None or reaches_ahead(rows, full, named, model.columns):
                lookback = use_case.features.lookback
                alone = f", from its lookback of {write_duration(lookback)} alone" if lookback else ""
                return (
                    f"{source} gives {names} differently in a fresh process; it must give the same for a row "
                    f"whenever it is called{alone}."
                )
            earlier = _made_again(raw, rows, _until(use_case, raw.validated, moment))
            if later := reaches_ahead(rows, earlier, named, model.columns):
                return leaks_told(later)
            return (
                f"{source} makes {names} of labels that are not known yet when a row is scored; let it use only "
                f"those of rows at least {write_duration(use_case.label.known_after)} older."
            )
    except Exception as error:  # whatever a user's transform raises
        return f"{source} crashes in a fresh process: {told(error)}; it must need only its arguments."
    what = "the model on features made again of the validated rows"
    # too little to be seen in the features themselves
    slightly = [name for name in model.columns if not again[name].equals(rows[name])]
    advice = f"{source} gives {_named(slightly)} differently; it must give the same for a row whenever it is called"
    return _compared(lambda: model.predict(again), scores, limit, what, advice)


def _named(names: list[str]) -> str:
    """The first of some features, and how many more there are."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:MOST_NAMED]) + more


def known_at(use_case: UseCase, validated: pl.DataFrame, moment: Any) -> pl.DataFrame:
    """Validated rows as they were known at a moment: without later ones, and labels not known yet are others."""
    contract, label = use_case.contract, use_case.label
    rows = _until(use_case, validated, moment)
    known = pl.col(str(contract.event_time)) <= moment - label.known_after
    return rows.with_columns(
        pl.when(known).then(pl.col(label.column)).otherwise(_another(rows[label.column])).alias(label.column)
    )


def _until(use_case: UseCase, validated: pl.DataFrame, moment: Any) -> pl.DataFrame:
    """The rows up to a moment, that of the last of them."""
    return validated.filter(pl.col(str(use_case.contract.event_time)) <= moment)


def _another(labels: pl.Series) -> pl.Expr:
    """Another label than each row has, of the same type: the other end of the range, or the next class."""
    column = pl.col(labels.name)
    if labels.dtype == pl.Boolean:
        return ~column
    if labels.dtype.is_numeric():
        return (column.min() + column.max() - column).cast(labels.dtype)
    classes = labels.drop_nulls().unique().sort().to_list()
    return column.replace_strict(classes, [*classes[1:], *classes[:1]], default=None, return_dtype=labels.dtype)


def _made_again(raw: RawRows, rows: pl.DataFrame, validated: pl.DataFrame) -> pl.DataFrame:
    """The features of rows, in their order, made of validated rows."""
    named = raw.use_case.contract.identity
    features = transformed(raw.use_case, validated, raw.inputs)
    return rows.select(named).join(features, on=named, how="inner", nulls_equal=True, maintain_order="left")


def _unusual(model: TrainedModel, row: pl.DataFrame, name: str) -> str | None:
    """How the model fails a row without a value, or with an unseen category, in a column."""
    import numpy as np

    dtype = row.schema[name]
    values: dict[str, Any] = {"a missing": pl.lit(None, dtype)}
    if not is_number(dtype):
        values["an unseen"] = pl.lit(UNSEEN)
    for word, value in values.items():
        advice = f"new rows may have {word} value: choose another estimator, or other params"
        try:
            score = model.predict(row.with_columns(value.alias(name)))
        except Exception as error:  # whatever an estimator raises
            return f"{word} '{name}' crashes the stored model: {told(error)}; {advice}."
        if not np.isfinite(score).all():
            return f"{word} '{name}' gets no finite score from the stored model; {advice}."
    return None
