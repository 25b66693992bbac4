"""One pipeline from a table of features to scores, whatever its columns hold."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from ml_platform import references
from ml_platform.ml.contract import PARTITION
from ml_platform.ml.training import BASELINES, TrainedModel, feature_columns, fit, rows_hash
from ml_platform.use_case import Task, UseCase
from ml_platform_tests.examples import use_case

LOGISTIC = "sklearn.linear_model.LogisticRegression"
BOOSTING = "sklearn.ensemble.HistGradientBoostingClassifier"
FOREST = "sklearn.ensemble.RandomForestClassifier"
TREE = "sklearn.tree.DecisionTreeClassifier"
RIDGE = "sklearn.linear_model.Ridge"

FLOAT, TEXT = {"type": "float64"}, {"type": "string"}


def case(
    estimator: str | None = LOGISTIC, task: Task = "binary_classification", label: Any = FLOAT, **more: Any
) -> UseCase:
    """A use case without partitions whose label is the column `y`."""
    model = {"estimator": estimator} | more.pop("model", {})
    columns = {"fraud": None, "y": label}
    return use_case(
        task=task, partitions="none", contract={"columns": columns}, label={"column": "y"}, model=model, **more
    )


def rows(n: int = 120, seed: int = 1) -> pl.DataFrame:
    """Features of every kind with missing values, and a label that follows them."""
    rng = np.random.default_rng(seed)
    amount, city, flag = rng.normal(size=n), rng.choice(["ghent", "mons"], size=n), rng.random(n) < 0.5
    y = (amount + (city == "mons") + flag + rng.normal(scale=0.3, size=n) > 1).astype(float)
    frame = pl.DataFrame(
        {"id": range(n), "amount": amount, "count": rng.integers(0, 9, size=n), "city": city, "flag": flag, "y": y}
    )
    missing = pl.int_range(pl.len()) % 11
    return frame.with_columns(
        pl.when(missing != place).then(pl.col(name)).alias(name)
        for place, name in enumerate(["amount", "count", "city", "flag"])
    )


def trained(of: UseCase, train: pl.DataFrame) -> TrainedModel:
    pipeline = fit(of, train, of.estimator, of.params)
    return TrainedModel(pipeline, of.task, feature_columns(of, train.columns), "run")


def scores(of: UseCase, train: pl.DataFrame, judged: pl.DataFrame | None = None) -> NDArray[np.float64]:
    return trained(of, train).predict(train if judged is None else judged)


@pytest.mark.parametrize("estimator", [LOGISTIC, BOOSTING, FOREST, TREE])
def test_every_kind_of_column_is_learned_from(estimator: str) -> None:
    known = rows(seed=1)
    found = scores(case(estimator), known, new := rows(seed=2))
    assert found.shape == (new.height,)
    assert ((found > 0.5) == (new["y"] == 1).to_numpy()).mean() > 0.75


@pytest.mark.parametrize("column", ["amount", "city", "flag"])
def test_each_column_alone_tells_the_classes_apart(column: str) -> None:
    table = rows(600)
    found = scores(case(features={"columns": [column]}), table)
    assert found[table["y"] == 1].mean() > found[table["y"] == 0].mean() + 0.05


@pytest.mark.parametrize("estimator", [LOGISTIC, BOOSTING])
def test_unseen_and_missing_values_get_a_score(estimator: str) -> None:
    new = pl.DataFrame(
        {"amount": [None, 1e9], "count": [None, -5], "city": ["paris", None], "flag": [None, None]},
        schema_overrides={"flag": pl.Boolean},
    )
    found = scores(case(estimator), rows(), new)
    assert np.isfinite(found).all()


def test_a_classifier_gives_the_probability_of_the_positive_class() -> None:
    table = pl.DataFrame({"id": range(100), "amount": np.linspace(0, 1, 100), "y": [0.0] * 50 + [1.0] * 50})
    found = scores(case(), table)
    assert (np.diff(found) > 0).all()
    assert found[0] < 0.5 < found[-1]


@pytest.mark.parametrize(("kind", "classes"), [(TEXT, ["a", "b", "c"]), ({"type": "int64"}, [3, 5, 7])])
def test_many_classes_give_a_probability_each_in_their_order(kind: Any, classes: list[Any]) -> None:
    table = pl.DataFrame(
        {"id": range(90), "amount": [i // 30 for i in range(90)], "y": [classes[i // 30] for i in range(90)]}
    )
    of = case(TREE, "multiclass_classification", kind)
    model = trained(of, table)
    assert model.pipeline.classes_.tolist() == classes
    assert model.predict(table[[0, 30, 60]]).tolist() == np.eye(3).tolist()


def test_a_regression_gives_the_value_in_its_own_unit() -> None:
    table = pl.DataFrame({"id": range(50), "amount": np.arange(50.0), "y": 1000 + 3 * np.arange(50.0)})
    found = scores(case(RIDGE, "regression", model={"params": {"alpha": 1e-9}}), table)
    assert found == pytest.approx(table["y"].to_numpy())


@pytest.mark.parametrize("task", BASELINES)
@pytest.mark.parametrize("baseline", ["linear", "prior"])
def test_the_baselines_of_every_task_can_be_trained(task: Task, baseline: str) -> None:
    of = case(BASELINES[task][baseline], task)
    assert scores(of, rows()).shape == ((120, 2) if task == "multiclass_classification" else (120,))


def test_the_same_seed_makes_the_same_model() -> None:
    first, again, other = (scores(case(FOREST, model={"seed": seed}), rows(), rows(seed=2)) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_a_declared_random_state_goes_before_the_seed() -> None:
    model = trained(case(TREE, model={"seed": 1, "params": {"random_state": 7, "max_depth": 2}}), rows())
    assert model.pipeline["estimator"].get_params()["random_state"] == 7
    assert model.pipeline["estimator"].get_depth() == 2


def test_an_estimator_without_randomness_gets_no_seed() -> None:
    assert trained(case("sklearn.naive_bayes.GaussianNB"), rows()).pipeline["estimator"].get_params() == {
        "priors": None,
        "var_smoothing": 1e-9,
    }


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"max_itr": 7}, f"{LOGISTIC} has no parameter 'max_itr'; did you mean 'max_iter'?"),
        ({"max_iter": "many"}, "The 'max_iter' parameter of LogisticRegression must be an int"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused(params: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match="max_it") as refusal:
        fit(case(), rows(), LOGISTIC, params)
    assert str(refusal.value).startswith(sentence)


@pytest.mark.parametrize("task", ["binary_classification", "multiclass_classification"])
def test_one_class_is_nothing_to_learn_from(task: Task) -> None:
    with pytest.raises(ValueError, match="same label") as refusal:
        fit(case(task=task), rows().with_columns(y=pl.lit(0.0)), LOGISTIC, {})
    assert str(refusal.value) == "all 120 training rows have the same label; use a longer train_on."


def test_one_value_is_enough_for_a_regression() -> None:
    assert scores(case(RIDGE, "regression"), rows().with_columns(y=pl.lit(5.0))) == pytest.approx(np.full(120, 5.0))


def test_the_features_are_all_columns_but_key_time_label_and_partition() -> None:
    columns = ["id", "at", "amount", PARTITION, "fraud", "city", "sum_7d"]
    assert feature_columns(use_case(), columns) == ("amount", "city", "sum_7d")
    assert feature_columns(use_case(features={"columns": ["city"]}), columns) == ("city",)


@pytest.mark.parametrize("estimator", [LOGISTIC, BOOSTING])
def test_a_column_without_any_value_does_no_harm(estimator: str) -> None:
    known = rows()
    found = scores(case(estimator), known.with_columns(amount=pl.lit(None, pl.Float64)))
    assert found == pytest.approx(scores(case(estimator), known.drop("amount")))


@pytest.mark.parametrize(
    "estimator",
    ["sklearn.metrics.roc_auc_score", "collections.OrderedDict", "sklearn.ensemble.VotingClassifier", RIDGE],
)
def test_what_is_no_classifier_is_refused_with_its_name(estimator: str) -> None:
    with pytest.raises(ValueError, match=references.split(estimator)[1]):
        fit(case(), rows(), estimator, {})


@pytest.mark.parametrize(
    ("table", "word"),
    [
        pytest.param(rows().select("id", "y"), "feature", id="no features"),
        pytest.param(rows().with_columns(y=pl.col("id") % 3), "label", id="three classes"),
        pytest.param(rows().with_columns(y=pl.col("city").fill_null("?")), "label", id="text"),
    ],
)
def test_what_cannot_be_learned_is_refused_with_a_sentence(table: pl.DataFrame, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        fit(case(), table, LOGISTIC, {})


@pytest.mark.parametrize("task", BASELINES)
def test_without_an_estimator_boosting_learns_every_task(task: Task) -> None:
    table = rows(600).with_columns(y=pl.col("amount").fill_null(0.0) if task == "regression" else pl.col("y"))
    model = trained(case(None, task), table)
    assert type(model.pipeline["estimator"]).__name__.startswith("HistGradientBoosting")
    assert model.pipeline["estimator"].early_stopping is False
    found = model.predict(table)
    assert np.corrcoef(found[:, 1] if found.ndim > 1 else found, table["y"])[0, 1] > 0.7


def test_rows_have_another_hash_when_anything_that_a_model_learns_of_them_is_another() -> None:
    of, same = case(), rows()
    columns = feature_columns(of, same.columns)
    others = [
        same.reverse(),
        same.head(119),
        same.with_columns(y=1 - pl.col("y")),
        same.with_columns(flag=~pl.col("flag")),
        same.with_columns(amount=pl.col("amount").fill_null(0)),
        same.with_columns(city=pl.col("city").replace({"mons": "liege"})),
    ]
    hashes = [rows_hash(of, one, columns) for one in (same, *others)]
    assert len(set(hashes)) == 7
    assert rows_hash(of, rows().with_columns(id=pl.lit(0)), columns) == hashes[0]
    assert rows_hash(of, same, columns[::-1]) not in hashes
