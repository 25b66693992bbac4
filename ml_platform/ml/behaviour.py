"""How a model's score behaves when one column of a row changes, and how long a prediction takes."""

from statistics import median
from time import perf_counter
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml_platform.ml.training import TrainedModel
from ml_platform.references import did_you_mean
from ml_platform.use_case import Behaviour, UseCase

MOST_ROWS: Final = 1_000
_GRID: Final = 12
_SHUFFLES: Final = 5
# sums of the same numbers in another order differ by that much, relative to the greatest score
_ROUNDING: Final = 1e-12
_BROKEN: Final = {
    "invariant_to": "the score moves with",
    "increases_with": "the score falls along a rising",
    "decreases_with": "the score rises along a rising",
}


def behaviour_problems(use_case: UseCase, model: TrainedModel, rows: pl.DataFrame) -> dict[str, str | None]:
    """Why the model breaks each rule of `evaluation.behaviour`, as sentences by the rules' names, or None where not.

    `rows` are at least one row of features; a thousand of them, drawn by the model's seed, are looked at. With
    `invariant_to` each gets the column's values of other rows: every value if they are twelve at most, else those of
    five shuffles. With `increases_with` and `decreases_with` each gets twelve of the column's values in rising order,
    the least and the greatest among them, and is compared with its best score on the way up. A row breaks the rule
    where a score, of any class, moves against it by more than the tolerance. Nothing breaks a rule on a column of one
    value, nor the invariance to a column that the model does not take: what the transform makes of it is not followed.
    A mistake in a rule is a problem too: an unknown column, an order of texts, or of the scores of several classes.
    """
    sample = rows[np.random.default_rng(use_case.model.seed).permutation(rows.height)[:MOST_ROWS]]
    return {rule.name: _problem(rule, use_case, model, sample) for rule in use_case.evaluation.behaviour}


def latency_problems(use_case: UseCase, model: TrainedModel, rows: pl.DataFrame) -> dict[str, str | None]:
    """Why predictions are too slow, as sentences by `latency_one_row` and `latency_thousand_rows`, or None where not.

    Only what `evaluation.latency` limits is timed: the conversion of features and the pipeline, not the loading of the
    model, on one thread where the estimator leaves it to the platform. `rows` are at least one row of features, taken
    several times if they are fewer than a thousand. The median of 15 predictions of one row or of 7 of a thousand is
    judged, after one that is not counted.
    """
    latency = use_case.evaluation.latency
    problems: dict[str, str | None] = {}
    for field, limit, words, height, times in (
        ("one_row_ms", latency.one_row_ms, "one row", 1, 15),
        ("thousand_rows_ms", latency.thousand_rows_ms, "a thousand rows", 1_000, 7),
    ):
        if limit is None:
            continue
        found = _median_ms(model, rows[np.arange(height) % rows.height], times)
        problems[f"latency_{field.removesuffix('_ms')}"] = (
            None
            if found <= limit
            else f"a prediction of {words} took {found:.3g} ms, the median of {times}, at most {limit:g} ms may pass; "
            f"choose a smaller model or raise evaluation.latency.{field}."
        )
    return problems


def _median_ms(model: TrainedModel, rows: pl.DataFrame, times: int) -> float:
    from threadpoolctl import threadpool_limits

    taken = []
    with threadpool_limits(limits=1):
        model.predict(rows)
        for _ in range(times):
            start = perf_counter()
            model.predict(rows)
            taken.append(1_000 * (perf_counter() - start))
    return median(taken)


def _problem(rule: Behaviour, use_case: UseCase, model: TrainedModel, sample: pl.DataFrame) -> str | None:
    invariant, column = rule.rule == "invariant_to", rule.column
    if column not in model.columns:
        if invariant and column in {*use_case.contract.columns, *sample.columns}:
            return None
        meant = did_you_mean(column, list(model.columns))
        return f"{rule.rule} names '{column}', which is no feature of the model; {meant}"
    if invariant:
        return _break(rule, model, sample, _with_others(sample[column], use_case.model.seed))
    if use_case.task == "multiclass_classification":
        return f"{rule.rule} needs one score a row, and {use_case.task} has one for each class; remove the rule."
    kind = sample.schema[column]
    if not (kind.is_numeric() or kind == pl.Boolean):
        return f"{rule.rule} needs a number, and '{column}' is {kind}; remove the rule or make the feature a number."
    return _break(rule, model, sample, _rising(sample[column]))


def _break(rule: Behaviour, model: TrainedModel, sample: pl.DataFrame, values: pl.Series) -> str | None:
    """How the scores break a rule when the column takes such values, as many for each trial as there are rows."""
    rows, invariant = sample.height, rule.rule == "invariant_to"
    trials = len(values) // rows
    if trials == 0:
        return None
    tried = pl.concat([sample.select(model.columns)] * trials).with_columns(values.alias(rule.column))
    scores = model.predict(tried)
    scores = scores.reshape(trials, rows, *scores.shape[1:])
    better = -scores if rule.rule == "decreases_with" else scores
    against = np.abs(scores - scores[0]) if invariant else np.maximum.accumulate(better) - better
    most = against.max(axis=0).reshape(rows, -1).max(axis=1)
    broken = np.count_nonzero(most > rule.tolerance + _ROUNDING * np.abs(scores).max())
    if broken / rows <= rule.rows_at_most:
        return None
    end, row, *of_class = (int(place) for place in np.unravel_index(against.argmax(), against.shape))
    start = 0 if invariant else int(better[: end + 1, row].argmax())
    source, target = (_shown(values[trial * rows + row]) for trial in (start, end))
    before, after = (scores[(trial, row, *of_class)] for trial in (start, end))
    whose = f"the score of class {_shown(model.pipeline.classes_.tolist()[of_class[0]])}" if of_class else "the score"
    remedy = f"leave '{rule.column}' out of the features" if invariant else "constrain the estimator"
    return (
        f"{_BROKEN[rule.rule]} '{rule.column}' in {broken} of {rows} rows ({broken / rows:.1%}, at most "
        f"{rule.rows_at_most:.1%} may), by up to {most.max():.3g}: from {source} to {target} {whose} goes from "
        f"{before:.6g} to {after:.6g}; {remedy}, or raise the rule's tolerance or rows_at_most."
    )


def _with_others(own: pl.Series, seed: int) -> pl.Series:
    """The column's own values, and after them as many of other rows for each trial."""
    distinct = own.unique(maintain_order=True)
    if len(distinct) <= _GRID:
        return pl.concat([own, _each(distinct, len(own))])
    rng = np.random.default_rng(seed)
    return pl.concat([own, *(own[rng.permutation(len(own))] for _ in range(_SHUFFLES))])


def _rising(own: pl.Series) -> pl.Series:
    """Some of the column's values in rising order, each for all rows."""
    distinct = own.drop_nulls().unique().sort()
    if distinct.dtype.is_float():
        distinct = distinct.drop_nans()
    places: NDArray[Any] = np.unique(np.linspace(0, len(distinct) - 1, _GRID).round().astype(np.intp))
    return _each(distinct[places] if len(distinct) else distinct, len(own))


def _each(values: pl.Series, times: int) -> pl.Series:
    return values[np.repeat(np.arange(len(values)), times)]


def _shown(value: object) -> str:
    match value:
        case None:
            return "missing"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.6g}"
        case _:
            return repr(value) if isinstance(value, str) else str(value)
