"""What becomes of columns of every kind inside the stored pipeline."""

from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml_platform.ml.preprocessing import LEFT_OUT, kind_of, left_out, matrix
from ml_platform.ml.training import BASELINES, TrainedModel, feature_columns, fit
from ml_platform.resources.trusted_types import TRUSTED_TYPES
from ml_platform.use_case import Task, UseCase
from ml_platform_tests.examples import use_case

LOGISTIC = "sklearn.linear_model.LogisticRegression"
RIDGE = "sklearn.linear_model.Ridge"
ROWS = 240
NEW_YEAR = datetime(2024, 1, 1)
WORDS = ("red", "green", "wing", "engine", "small", "fixed", "late", "early", "wide", "old")


def case(task: Task, estimator: str | None = None) -> UseCase:
    return use_case(
        task=task,
        partitions="none",
        contract={"columns": {"fraud": None, "y": {"type": "float64"}}},
        label={"column": "y"},
        model={"estimator": estimator, "params": {} if estimator else {"max_iter": 5}},
    )


def trained(of: UseCase, train: pl.DataFrame) -> TrainedModel:
    pipeline = fit(of, train, of.estimator, of.params)
    return TrainedModel(pipeline, of.task, feature_columns(of, train.columns), "run")


def stored(model: TrainedModel) -> TrainedModel:
    """The model as it is after storing and loading."""
    loaded = skops.io.loads(skops.io.dumps(model.pipeline), trusted=list(TRUSTED_TYPES))
    return TrainedModel(loaded, model.task, model.columns, "run")


def column(kind: str, rows: int, rng: np.random.Generator) -> pl.Series:
    """A column of a kind; what it is named is what it holds."""
    of = lambda n: rng.integers(0, n, rows)  # noqa: E731 - a name for a call
    values: dict[str, Any] = {
        "float": lambda: rng.normal(size=rows),
        "wild": lambda: rng.choice([np.inf, -np.inf, np.nan, 1e9, 0.0, -1.5], rows),
        "constant": lambda: np.full(rows, 7),
        "integer": lambda: of(5),
        "boolean": lambda: of(2) == 1,
        "date": lambda: [date(1969, 12, 1) + timedelta(days=int(day)) for day in of(20_000)],
        "moment": lambda: [NEW_YEAR + timedelta(seconds=int(second)) for second in of(10**8)],
        "clock": lambda: [time(int(hour)) for hour in of(24)],
        "span": lambda: [timedelta(seconds=int(second)) for second in of(10**5)],
        "few": lambda: [f"level {one}" for one in of(4)],
        "many": lambda: [f"level{one}" for one in of(120)],
        "text": lambda: [" ".join(rng.choice(WORDS, 4)) + f" {one}" for one in of(10**6)],
        "identifier": lambda: [f"A{one}" for one in range(rows)],
        "nothing": lambda: [None] * rows,
    }
    return pl.Series(kind, values[kind]())


KINDS = (
    "float", "wild", "constant", "integer", "boolean", "date", "moment", "clock", "span", "few", "many", "text",
    "identifier", "nothing",
)  # fmt: skip


def table(kinds: list[str], seed: int, missing: float, task: Task, rows: int = ROWS) -> pl.DataFrame:
    """Columns of some kinds with a share of missing values in each, a number that tells the label, and the label."""
    rng = np.random.default_rng(seed)
    drawn = pl.DataFrame([column(kind, rows, rng) for kind in kinds])
    gaps = [pl.when(pl.Series(rng.random(rows) >= missing)).then(pl.col(kind)).alias(kind) for kind in kinds]
    telling = rng.normal(size=rows)
    y = {"regression": telling * 3, "binary_classification": telling > 0.5}.get(task, np.digitize(telling, [-0.5, 0.5]))
    return drawn.with_columns(*gaps, id=pl.int_range(rows), telling=telling, y=pl.Series(y).cast(pl.Float64))


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
@settings(max_examples=25, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=5, unique=True),
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.1, 0.9]),
    task=st.sampled_from(sorted(BASELINES)),
    linear=st.booleans(),
)
def test_a_model_of_any_table_scores_any_row_and_is_the_same_again(
    kinds: list[str], seed: int, missing: float, task: Task, linear: bool
) -> None:
    of = case(task, BASELINES[task]["linear"] if linear else None)
    train, new = table(kinds, seed, missing, task), table(kinds, seed + 1, 0.3, task, rows=20)
    model = trained(of, train)
    scores = model.predict(new)
    assert np.isfinite(scores).all()
    assert np.array_equal(trained(of, train).predict(new), scores)
    assert np.array_equal(stored(model).predict(new), scores)
    alone = np.concatenate([model.predict(row) for row in new.iter_slices(1)])
    np.testing.assert_allclose(alone, scores, atol=1e-9)
    empty = new.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in new.schema.items() if name in kinds)
    assert np.isfinite(stored(model).predict(empty)).all()


@pytest.mark.parametrize(
    ("name", "kind"),
    {
        "float": "number", "wild": "number", "boolean": "number", "clock": "number", "span": "number", "date": "time",
        "moment": "time", "few": "category", "many": "many_levels", "text": "text", "identifier": "identifier",
        "nothing": "empty",
    }.items(),
)  # fmt: skip
def test_a_column_is_taken_for_what_it_holds(name: str, kind: str) -> None:
    assert kind_of(column(name, ROWS, np.random.default_rng(0))) == kind


def test_all_that_can_be_a_number_is_a_float_and_the_rest_is_text() -> None:
    given = pl.DataFrame(
        {
            "i": [1, None],
            "b": [True, None],
            "f": [0.5, np.inf],
            "at": [datetime(1970, 1, 2), None],
            "on": [date(1969, 12, 31), None],
            "took": [timedelta(minutes=1), None],
            "clock": [time(1), None],
            "t": ["a", None],
            "e": [None, None],
        }
    ).with_columns(c=pl.col("t").cast(pl.Categorical), d=pl.col("f").cast(pl.Decimal(5, 2), strict=False))
    inputs = matrix(given, given.columns)
    texts = ["t", "e", "c"]
    assert list(inputs.columns) == given.columns
    assert inputs.drop(columns=texts).iloc[0].tolist() == [1.0, 1.0, 0.5, 86400.0, -86400.0, 60.0, 3600.0, 0.5]
    assert (inputs.drop(columns=texts).dtypes == np.float64).all()
    assert inputs.drop(columns=texts).iloc[1].isna().all()
    assert inputs[texts].to_numpy().tolist() == [["a", None, "a"], [None] * 3]


@pytest.mark.parametrize(
    ("values", "kind"),
    [(pl.Series([[1.0]]), r"List\(Float64\)"), (pl.Series([{"a": 1}]), "Struct"), (pl.Series([b"a"]), "Binary")],
)
def test_what_is_nested_or_of_bytes_is_no_feature(values: pl.Series, kind: str) -> None:
    with pytest.raises(TypeError, match=f"Feature 'parts' is {kind}.*; turn it into numbers in the transform, or"):
        matrix(values.alias("parts").to_frame(), ["parts"])


def auc(of: UseCase, train: pl.DataFrame, new: pl.DataFrame) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(new["y"], trained(of, train).predict(new)))


def judged(feature: pl.Series, share: NDArray[np.float64], seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows to train on and to judge on, of one feature and a label that is 1 with the probability that it tells."""
    y = np.random.default_rng(seed).random(len(share)) < share
    rows = pl.DataFrame({"id": range(len(y)), "y": y.astype(float)}).with_columns(feature)
    half = len(y) // 2
    return rows.head(half), rows.tail(half)


@pytest.mark.parametrize("estimator", [LOGISTIC, None])
@pytest.mark.parametrize("cycle", ["hour", "weekday", "month"])
def test_a_time_tells_what_depends_on_the_hour_the_day_or_the_season(estimator: str | None, cycle: str) -> None:
    rng = np.random.default_rng(1)
    at = pl.Series("moment", [NEW_YEAR + timedelta(seconds=int(one)) for one in rng.integers(0, 10**8, 4000)])
    likely = {"hour": (at.dt.hour() < 6), "weekday": at.dt.weekday() > 5, "month": at.dt.month() < 4}[cycle]
    assert auc(case("binary_classification", estimator), *judged(at, np.where(likely, 0.9, 0.1))) > 0.8


@pytest.mark.parametrize("estimator", [LOGISTIC, None])
def test_a_category_of_many_levels_tells_what_its_levels_do(estimator: str | None) -> None:
    rng = np.random.default_rng(2)
    level, share = rng.integers(0, 300, 9000), rng.random(300)
    shops = pl.Series("shop", [f"shop{one}" for one in level])
    assert auc(case("binary_classification", estimator), *judged(shops, share[level])) > 0.78  # 0.83 by the true shares


def test_a_level_of_many_that_tells_nothing_is_not_learned_by_heart() -> None:
    rng = np.random.default_rng(3)
    shops = pl.Series("shop", [f"shop{one}" for one in rng.integers(0, 1500, 4000)])
    train, _ = judged(shops, np.full(4000, 0.5))
    found = trained(case("binary_classification", LOGISTIC), train).predict(train)
    assert abs(found - 0.5).max() < 0.2


@pytest.mark.parametrize("estimator", [LOGISTIC, None])
def test_a_text_tells_what_its_words_do(estimator: str | None) -> None:
    rng = np.random.default_rng(4)
    words = [[*rng.choice(WORDS, 4), str(number)] for number in rng.integers(0, 10**6, 2000)]
    texts, engines = pl.Series("text", map(" ".join, words)), np.array(["engine" in one for one in words])
    assert auc(case("binary_classification", estimator), *judged(texts, np.where(engines, 0.9, 0.1))) > 0.8


def test_an_unseen_category_is_scored_as_if_it_told_nothing() -> None:
    known = pl.DataFrame({"id": range(90), "city": ["ghent", "mons", "lier"] * 30, "y": [0.0, 1.0, 1.0] * 30})
    low, high, unseen = trained(case("binary_classification", LOGISTIC), known).predict(
        pl.DataFrame({"city": ["ghent", "mons", "paris"]})
    )
    assert low < unseen < high


def test_what_is_left_out_is_said_with_the_reason() -> None:
    known = table(["identifier", "nothing", "float"], 0, 0.0, "regression")
    model = stored(trained(case("regression"), known))
    assert left_out(model.pipeline) == {"identifier": LEFT_OUT["identifier"], "nothing": LEFT_OUT["empty"]}


def test_identifiers_alone_are_nothing_to_learn_from() -> None:
    known = table(["identifier"], 0, 0.0, "regression").drop("telling")
    with pytest.raises(ValueError, match="no feature tells rows apart: they are identifiers, or have no values"):
        trained(case("regression", RIDGE), known)


@pytest.mark.parametrize("task", BASELINES)
def test_a_class_of_one_row_does_no_harm_to_categories_of_many_levels(task: Task) -> None:
    known = table(["many"], 0, 0.0, task).with_columns(y=(pl.col("id") == 0).cast(pl.Float64))
    assert np.isfinite(trained(case(task, BASELINES[task]["linear"]), known).predict(known)).all()
