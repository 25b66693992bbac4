"""Stored models in a process that knows nothing of the one that trained them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import invalidate_caches
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from ml_platform.ml.features import transformed
from ml_platform.ml.parity import RawRows
from ml_platform.ml.preprocessing import matrix
from ml_platform.ml.training import TrainedModel, feature_columns, fit
from ml_platform.partitions import looked_at
from ml_platform.references import load
from ml_platform.resources.model_files import DESCRIPTION_FILE, MODEL_FILE
from ml_platform.resources.scoring_process import ScoringProcess
from ml_platform.use_case import Task, UseCase
from ml_platform_tests.examples import use_case
from ml_platform_tests.services import ends

POSITIVE = "needs positive features, and numbers are scaled"
ALONE = "takes other estimators, which no YAML file can name"
NO_PROBABILITY = "has no predict_proba with these params"
SEVERAL_LABELS = "predicts several labels at once"
UNFIT = {
    "CategoricalNB": POSITIVE,
    "ComplementNB": POSITIVE,
    "MultinomialNB": POSITIVE,
    "ClassifierChain": ALONE,
    "FixedThresholdClassifier": ALONE,
    "MultiOutputClassifier": ALONE,
    "MultiOutputRegressor": ALONE,
    "OneVsOneClassifier": ALONE,
    "OneVsRestClassifier": ALONE,
    "OutputCodeClassifier": ALONE,
    "RegressorChain": ALONE,
    "StackingClassifier": ALONE,
    "StackingRegressor": ALONE,
    "TunedThresholdClassifierCV": ALONE,
    "VotingClassifier": ALONE,
    "VotingRegressor": ALONE,
    "LinearSVC": NO_PROBABILITY,
    "NuSVC": NO_PROBABILITY,
    "PassiveAggressiveClassifier": NO_PROBABILITY,
    "Perceptron": NO_PROBABILITY,
    "RidgeClassifier": NO_PROBABILITY,
    "RidgeClassifierCV": NO_PROBABILITY,
    "SGDClassifier": NO_PROBABILITY,
    "SVC": NO_PROBABILITY,
    "SelfTrainingClassifier": f"{NO_PROBABILITY}, as the estimator that it takes by default has none",
    "CCA": SEVERAL_LABELS,
    "MultiTaskElasticNet": SEVERAL_LABELS,
    "MultiTaskElasticNetCV": SEVERAL_LABELS,
    "MultiTaskLasso": SEVERAL_LABELS,
    "MultiTaskLassoCV": SEVERAL_LABELS,
    "PLSCanonical": SEVERAL_LABELS,
    "IsotonicRegression": "takes one feature only",
    "QuadraticDiscriminantAnalysis": "needs independent features, and those of a text column add up to 1",
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of the user's own that the import path has, which modules are planted in."""
    folder = tmp_path_factory.mktemp("package")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


@pytest.fixture(scope="module")
def process(package: Path) -> Iterator[ScoringProcess]:  # noqa: ARG001 - on the import path before the start
    with ScoringProcess(patience=60) as started:
        yield started


def table(task: Task = "binary_classification") -> pl.DataFrame:
    """Rows with features, numbers and text each with and without gaps, and a label that follows them."""
    rng = np.random.default_rng(1)
    amount, city = rng.normal(size=60), rng.choice(["ghent", "mons"], size=60)
    value = amount + (city == "mons") + rng.normal(scale=0.3, size=60)
    y = {"binary_classification": value > 0.5, "multiclass_classification": np.digitize(value, [0.0, 1.0])}
    frame = pl.DataFrame(
        {"amount": amount, "visits": rng.integers(0, 9, size=60), "city": city, "shop": ["a", "b", "c"] * 20}
    )
    label = y[task].astype(float) if task in y else np.abs(value) + 1
    return frame.with_columns(
        pl.when(pl.int_range(pl.len()) % 11 != place).then(pl.col(name)).alias(name)
        for place, name in enumerate(["visits", "city"])
    ).with_columns(id=pl.int_range(pl.len()), y=pl.Series(label))


def without_partitions(task: Task, estimator: str) -> UseCase:
    columns = {"fraud": None, "y": {"type": "float64"}}
    return use_case(
        task=task,
        partitions="none",
        contract={"columns": columns},
        label={"column": "y"},
        model={"estimator": estimator},
    )


def trained(of: UseCase, rows: pl.DataFrame) -> TrainedModel:
    pipeline = fit(of, rows, of.model.estimator, of.model.params)
    return TrainedModel(pipeline, of.task, feature_columns(of, rows.columns), "run")


def stored(folder: Path, model: TrainedModel) -> Path:
    """The folder of a model, as the tracking server gives it."""
    import skops.io

    folder.mkdir(exist_ok=True)
    skops.io.dump(model.pipeline, folder / MODEL_FILE)
    described = {
        "task": model.task,
        "columns": list(model.columns),
        "run_id": model.run_id,
        "threshold": model.threshold,
        "params": dict(model.params),
    }
    (folder / DESCRIPTION_FILE).write_text(yaml.safe_dump({"metadata": described}))
    return folder


# that such a small table is hard to learn from is no matter here
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("binary_classification", "classifier"),
        ("multiclass_classification", "classifier"),
        ("regression", "regressor"),
    ],
)
def test_every_estimator_of_scikit_learn_scores_alike_in_a_fresh_process(
    process: ScoringProcess, tmp_path: Path, task: Task, kind: str
) -> None:
    from sklearn.utils import all_estimators

    rows, found = table(task), {}
    for name, estimator in all_estimators(kind):
        of = without_partitions(task, f"{estimator.__module__}.{name}")
        if name in UNFIT:
            with pytest.raises(ValueError, match=r".") as refusal:
                fit(of, rows, of.model.estimator, {})
            assert (UNFIT[name] == ALONE) == ("without arguments" in str(refusal.value)), name
            assert (NO_PROBABILITY in UNFIT[name]) == (NO_PROBABILITY in str(refusal.value)), name
            continue
        model = trained(of, rows)
        found[name] = process.check(stored(tmp_path / name, model), rows, model.predict(rows))
    assert {name: reason for name, reason in found.items() if reason is not None} == {}
    assert len(found) >= 20


@pytest.mark.filterwarnings("ignore")  # as above
@pytest.mark.parametrize(
    ("task", "estimator", "params"),
    [
        ("binary_classification", "sklearn.neural_network.MLPClassifier", {"solver": "sgd", "max_iter": 5}),
        ("binary_classification", "sklearn.calibration.CalibratedClassifierCV", {"method": "temperature"}),
        ("binary_classification", "sklearn.neighbors.KNeighborsClassifier", {"algorithm": "ball_tree"}),
        ("binary_classification", "sklearn.neighbors.KNeighborsClassifier", {"p": 3}),
        *(
            ("binary_classification", "sklearn.neighbors.KNeighborsClassifier", {"metric": metric, "algorithm": tree})
            for metric in ("braycurtis", "canberra", "hamming")
            for tree in ("auto", "ball_tree")
        ),
        ("binary_classification", "sklearn.linear_model.SGDClassifier", {"loss": "log_loss"}),
        ("multiclass_classification", "sklearn.linear_model.SGDClassifier", {"loss": "modified_huber"}),
        ("binary_classification", "sklearn.svm.SVC", {"probability": True}),
        ("binary_classification", "sklearn.svm.NuSVC", {"probability": True}),
        ("regression", "sklearn.neighbors.KNeighborsRegressor", {"metric": "manhattan"}),
        ("regression", "sklearn.neighbors.KNeighborsRegressor", {"metric": "chebyshev"}),
        ("regression", "sklearn.linear_model.TweedieRegressor", {"power": 1.5}),
    ],
)
def test_params_whose_fitted_types_are_others_score_alike(
    process: ScoringProcess, tmp_path: Path, task: Task, estimator: str, params: dict[str, Any]
) -> None:
    rows, of = table(task), without_partitions(task, estimator)
    model = TrainedModel(fit(of, rows, estimator, params), task, feature_columns(of, rows.columns), "run")
    assert process.check(stored(tmp_path, model), rows, model.predict(rows)) is None


def test_another_model_in_the_place_of_the_stored_one_is_found(process: ScoringProcess, tmp_path: Path) -> None:
    rows = table()
    of = without_partitions("binary_classification", "sklearn.linear_model.LogisticRegression")
    model, other = trained(of, rows), trained(of, rows.head(50))
    reason = process.check(stored(tmp_path, other), rows, model.predict(rows))
    assert reason is not None
    assert reason.startswith("the stored model in a fresh process scores 60 of 60 rows differently from training, by ")
    assert process.check(stored(tmp_path, model), rows, model.predict(rows)) is None


class Shift:
    """A regressor with a type of its own, which is not trusted."""

    def predict(self, inputs: Any) -> Any:
        return np.zeros(len(inputs))


def test_a_model_that_cannot_be_read_is_found(process: ScoringProcess, tmp_path: Path) -> None:
    from sklearn.pipeline import Pipeline

    model = TrainedModel(Pipeline([("estimator", Shift())]), "regression", ("amount",), "run")
    reason = process.check(stored(tmp_path, model), table(), np.zeros(60))
    assert reason is not None
    assert reason.startswith("the stored model cannot be read in a fresh process: UntrustedTypesFoundException: ")


@pytest.mark.parametrize(
    ("columns", "steps", "start"),
    [
        (
            ("amount",),
            {"estimator": "sklearn.linear_model.LogisticRegression"},
            "a missing 'amount' crashes the stored model: ValueError: Input X contains NaN; ",
        ),
        (
            ("city",),
            {"encode": "sklearn.preprocessing.OneHotEncoder", "estimator": "sklearn.tree.DecisionTreeClassifier"},
            "an unseen 'city' crashes the stored model: ValueError: Found unknown categories ",
        ),
    ],
)
def test_a_model_that_takes_nothing_unusual_is_found(
    process: ScoringProcess, tmp_path: Path, columns: tuple[str, ...], steps: dict[str, str], start: str
) -> None:
    from sklearn.pipeline import Pipeline

    rows = table()
    pipeline = Pipeline([(name, load(step)()) for name, step in steps.items()]).fit(matrix(rows, columns), rows["y"])
    model = TrainedModel(pipeline, "binary_classification", columns, "run")
    reason = process.check(stored(tmp_path, model), rows, model.predict(rows))
    assert reason is not None
    assert reason.startswith(start)


def planted(package: Path, body: str) -> UseCase:
    """A use case whose transform has such a body, which knows whether it is at home: where the test runs."""
    module = f"planted_{len(list(package.glob('planted_*.py')))}"
    head = (
        f"import os, sys, time\nfrom polars import col\n\ndef build(rows):\n    home = os.getpid() == {os.getpid()}\n"
    )
    (package / f"{module}.py").write_text(head + "".join(f"    {line}\n" for line in body.splitlines()))
    invalidate_caches()
    return use_case(features={"transform": f"{module}:build", "lookback": "2 days"})


def from_raw(process: ScoringProcess, of: UseCase, folder: Path) -> str | None:
    """What is found of a model of features that the transform made in this process, of ten days at once.

    The process is given the morning of the last day, and the rows of this day and of the lookback before it.
    """
    rng = np.random.default_rng(2)
    validated = pl.DataFrame(
        {"id": range(240), "amount": rng.normal(size=240), "fraud": [0, 1] * 120, "city": ["ghent", "mons", None] * 80}
    ).with_columns(at=pl.datetime(2024, 1, 1) + pl.duration(hours="id"))
    features = transformed(of, validated, {})
    model = trained(of, features)
    last = f"{features['partition'].max()}"
    rows = features.filter(pl.col("partition").cast(pl.String) == last).sort("at").head(12)
    needed = looked_at(of, [last])[last]
    raw = RawRows(of, validated.filter(pl.col("at").dt.date().cast(pl.String).is_in(needed)))
    return process.check(stored(folder / "model", model), rows, model.predict(rows), raw)


SUM = "return rows.with_columns(total=col('amount').rolling_sum_by('at', '2d'))"


@pytest.mark.parametrize("act", ["pass", "print('a line of its own')", "assert home or not sys.stdin.read(1)"])
def test_features_of_the_lookback_alone_are_made_again(
    process: ScoringProcess, package: Path, tmp_path: Path, act: str
) -> None:
    assert from_raw(process, planted(package, f"{act}\n{SUM}"), tmp_path) is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "return rows.with_columns(age=col('id') + time.time() % 10_000)",
            [
                "build gives 'age' differently in a fresh process; ",
                "whenever it is called, from its lookback of 2 days",
            ],
        ),
        (
            "return rows.with_columns(a=col('amount') + home, b=2 * col('amount') - 5 * home)",
            ["build gives 'a', 'b' differently in a fresh process; it must give the same for a row whenever "],
        ),
        (
            "return rows.with_columns(ahead=col('amount').shift(-1))",
            [
                "ahead differs in 1 of 12 rows once later rows are left out (id 227, at 2024-01-10 11:00:00: ",
                ": let the transform look only at rows up to each row's own time.",
            ],
        ),
        (
            "return rows.with_columns(off=col('amount') - col('amount').mean())",
            ["build gives 'off' differently in a fresh process; ", " from its lookback of 2 days alone."],
        ),
        (
            "return rows.with_columns(ever=col('amount').cum_sum())",
            ["build gives 'ever' differently in a fresh process; ", " from its lookback of 2 days alone."],
        ),
        (
            "return rows.with_columns(days=col('amount').mean().over(col('at').dt.date()))",
            ["days differs in 12 of 12 rows once later rows are left out ("],
        ),
        (
            "return rows.with_columns(told=col('fraud').shift(1), own=1 - col('fraud'))",
            [
                "build makes 'told', 'own' of labels that are not known yet when a row is scored; ",
                "let it use only those of rows at least 1 day older.",
            ],
        ),
        (
            "return rows.with_columns(told=col('fraud').shift(-1))",
            ["told differs in 1 of 12 rows once later rows are left out ("],
        ),
        (
            "if not home: raise KeyError('a table of its own')\nreturn rows",
            ["crashes in a fresh process: KeyError: 'a table of its own'; "],
        ),
        (
            "return rows if home else rows.head(20)",
            ["build makes 0 rows of features of 12 validated rows; it must make one each."],
        ),
    ],
)
def test_features_of_anything_else_are_found(
    process: ScoringProcess, package: Path, tmp_path: Path, body: str, words: list[str]
) -> None:
    reason = from_raw(process, planted(package, body), tmp_path)
    assert reason is not None
    assert [word for word in words if word not in reason] == [], reason


@pytest.mark.parametrize(
    ("act", "patience", "sentence"),
    [
        ("os.kill(os.getpid(), 9)", 60, "was ended by SIGKILL, its last words: it wrote nothing; "),
        ("os.write(2, b'first\\nout of memory.'); os._exit(3)", 60, "exit code 3, its last words: out of memory; "),
        ("time.sleep(60)", 3, "gave no answer within 3 s in a fresh process; "),
    ],
)
def test_a_process_that_dies_or_hangs_is_said_and_is_there_for_the_next_model(
    package: Path, tmp_path: Path, act: str, patience: float, sentence: str
) -> None:
    ends, goes_on = planted(package, f"if not home: {act}\nreturn rows"), planted(package, SUM)
    with ScoringProcess(patience) as started:
        reason = from_raw(started, ends, tmp_path)
        assert reason is not None
        assert sentence in reason
        assert patience < 60 or from_raw(started, goes_on, tmp_path) is None


def test_it_ends_with_the_process_that_started_it() -> None:
    text = """
        import os
        from ml_platform.resources.scoring_process import ScoringProcess
        print(ScoringProcess().begin().pid, flush=True)
        os._exit(0)
    """
    parent = subprocess.run([sys.executable, "-c", dedent(text)], capture_output=True, text=True, check=True)
    assert ends(int(parent.stdout))


def test_it_imports_neither_dagster_nor_mlflow() -> None:
    text = "import sys, ml_platform.resources.scoring_process; print({'dagster', 'mlflow', 'sklearn'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
