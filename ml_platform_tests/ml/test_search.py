"""The search for parameters: what it finds, and that it goes on after a kill as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from ml_platform.ml.search import SearchResult, metric_of, search
from ml_platform.ml.trials import Trial
from ml_platform.use_case import UseCase
from ml_platform_tests.examples import use_case

TREE = "sklearn.tree.DecisionTreeClassifier"


class Constant(RegressorMixin, BaseEstimator):
    """Predicts `a + b`, or refuses to."""

    def __init__(self, a: Any = 0.0, b: Any = 0.0, refuse: bool = False) -> None:
        self.a, self.b, self.refuse = a, b, refuse

    def fit(self, _inputs: Any, _y: Any) -> "Constant":
        if self.refuse:
            raise RuntimeError("it is refused")
        self.fitted_ = True
        return self

    def predict(self, inputs: Any) -> Any:
        return np.full(len(inputs), float(self.a) + float(self.b))


CONSTANT = f"{__name__}.Constant"


def case(space: dict[str, Any], estimator: str = CONSTANT, **more: Any) -> UseCase:
    """A regression whose label is 1 in every row, or as `more` says: the best of `Constant` is a + b = 1."""
    searched = {"space": space, "trials": 5} | more.pop("search", {})
    model = {"estimator": estimator, "search": searched} | more.pop("model", {})
    return use_case(**({"task": "regression", "model": model} | more))


def table(n: int = 400) -> pl.DataFrame:
    """A row an hour; `fraud` follows `amount`."""
    rng = np.random.default_rng(1)
    amount = rng.normal(size=n)
    fraud = (amount + rng.normal(scale=0.5, size=n) > 0).astype(int)
    at = [datetime(2024, 1, 1) + timedelta(hours=hour) for hour in range(n)]
    return pl.DataFrame({"id": range(n), "at": at, "amount": amount, "fraud": fraud})


ONES = table().with_columns(fraud=pl.lit(1))


def searched(of: UseCase, file: Path, rows: pl.DataFrame = ONES, study: str = "tiny 2024-02-01 0a") -> SearchResult:
    return search(of, rows, storage=file, study=study, on_trial=lambda _: None)


def tried(result: SearchResult) -> list[Any]:
    return [(trial.number, trial.params, trial.value, trial.failure) for trial in result.trials]


def test_the_best_found_is_near_the_optimum_and_trials_learn_from_those_before(tmp_path: Path) -> None:
    of = case({"a": {"low": -10.0, "high": 10.0}, "b": [0, 5]}, search={"trials": 40})
    result = searched(of, tmp_path / "trials.log")
    values = [trial.value for trial in result.trials if trial.value is not None]
    assert len(values) == 40
    assert result.value == min(values) < 0.5
    assert abs(result.params["a"] + result.params["b"] - 1) == pytest.approx(result.value)
    assert median(values[20:]) < median(values[:10]) / 2


def test_a_real_estimator_is_searched_by_its_default_metric(tmp_path: Path) -> None:
    of = case(
        {"max_depth": {"low": 1, "high": 8}}, TREE, task="binary_classification", model={"params": {"max_features": 1}}
    )
    result = searched(of, tmp_path / "trials.log", table())
    assert metric_of(of).name == "roc_auc"
    assert result.value == max(trial.value for trial in result.trials if trial.value is not None) > 0.8
    assert result.params.keys() == {"max_features", "max_depth"}


def test_a_greatest_metric_is_the_best(tmp_path: Path) -> None:
    of = case(
        {"strategy": ["most_frequent", "stratified"]},
        "sklearn.dummy.DummyClassifier",
        task="binary_classification",
        search={"metric": "accuracy"},
    )
    result = searched(of, tmp_path / "trials.log", table().with_columns(fraud=(pl.col("id") % 5 == 0).cast(pl.Int64)))
    assert result.params == {"strategy": "most_frequent"}


def test_classes_without_partitions_are_searched(tmp_path: Path) -> None:
    of = case(
        {"max_depth": [1, 9]},
        TREE,
        task="multiclass_classification",
        partitions="none",
        search={"metric": "accuracy"},
        contract={"columns": {"fraud": {"type": "string", "one_of": None}}},
    )
    rows = table(900).with_columns(amount=pl.col("id") % 5 + 0.0, fraud=(pl.col("id") % 5).cast(pl.String))
    assert (result := searched(of, tmp_path / "trials.log", rows)).params["max_depth"] == 9
    assert result.value == 1


def test_metrics_at_a_threshold_take_that_of_the_model() -> None:
    of = case({"max_depth": [1]}, TREE, task="binary_classification", search={"metric": "f1"}, model={"threshold": 0.2})
    assert metric_of(of).threshold == 0.2


def test_the_same_search_gives_the_same_trials(tmp_path: Path) -> None:
    of = case({"a": {"low": 0.0, "high": 2.0}}, search={"trials": 15})
    first, again = (searched(of, tmp_path / name) for name in ("a", "b"))
    assert tried(first) == tried(again)
    other = searched(case({"a": {"low": 0.0, "high": 2.0}}, model={"seed": 1}), tmp_path / "a")
    assert other.trials[0].params != first.trials[0].params


def test_values_lie_in_their_ranges_and_reach_the_bounds_of_whole_numbers(tmp_path: Path) -> None:
    space: dict[str, Any] = {
        "a": {"low": 1, "high": 3},
        "b": {"low": 1e-3, "high": 1e3, "log": True},
        "refuse": [False],
    }
    trials = searched(case(space, search={"trials": 30}), tmp_path / "trials.log").trials
    assert {trial.params["a"] for trial in trials} == {1, 2, 3}
    assert all(type(trial.params["a"]) is int and 1e-3 <= trial.params["b"] <= 1e3 for trial in trials)
    assert sum(trial.params["b"] < 1 for trial in trials) > 5


def test_choices_keep_their_type_when_they_are_read_back(tmp_path: Path) -> None:
    of = case({"a": [1, 1.0, True, "1"]}, search={"trials": 30})
    first = searched(of, tmp_path / "trials.log")
    assert {type(trial.params["a"]) for trial in first.trials} == {int, float, bool, str}
    again = searched(of, tmp_path / "trials.log")
    assert [repr(trial.params) for trial in again.trials] == [repr(trial.params) for trial in first.trials]


def killed_at(number: int, file: Path) -> None:
    """Search in this process until a trial, and be killed."""

    def on_trial(trial: Trial) -> None:
        if trial.number == number:
            os.kill(os.getpid(), signal.SIGKILL)

    search(LONG, ONES, storage=file, study="killed", on_trial=on_trial)


LONG = case({"a": {"low": 0.0, "high": 2.0}, "b": [0, 1], "refuse": [False, False, False, True]}, search={"trials": 20})


@pytest.mark.parametrize("line", [0, 2, -1])
def test_a_damaged_line_is_told_with_its_file(tmp_path: Path, line: int) -> None:
    of, file = case({"a": [0.0, 1.0, 2.0]}), tmp_path / "trials.log"
    searched(of, file)
    lines = file.read_bytes().splitlines(keepends=True)
    lines[line] = b"\0" * 20 + b"\n"
    file.write_bytes(b"".join(lines))
    with pytest.raises(ValueError, match=r"trials\.log has a damaged line: .*; restore the file, or remove it, and"):
        searched(of, file)


def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    for number in (4, 13):  # before and after the sampler has begun to learn from trials
        code = f"from pathlib import Path; from {__name__} import killed_at; killed_at({number}, Path('trials.log'))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
        assert done.returncode == -signal.SIGKILL
        assert (tmp_path / "trials.log").read_bytes().count(b'"op_code":4') == number + 1
    file = tmp_path / "trials.log"
    file.write_bytes(file.read_bytes() + b'{"op_code":4,"worker_')  # what a power cut may leave
    seen: list[int] = []
    resumed = search(LONG, ONES, storage=file, study="killed", on_trial=lambda trial: seen.append(trial.number))
    assert tried(resumed) == tried(searched(LONG, tmp_path / "uninterrupted.log"))
    assert seen == [*range(20)]
    assert {trial.failure for trial in resumed.trials} == {None, "it is refused"}
    assert tried(searched(LONG, file, study="killed")) == tried(resumed)


def test_an_interrupted_trial_was_never_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = case({"a": {"low": 0.0, "high": 2.0}})

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Constant, "predict", interrupt)
        with pytest.raises(KeyboardInterrupt):
            searched(of, tmp_path / "trials.log")
    assert tried(searched(of, tmp_path / "trials.log")) == tried(searched(of, tmp_path / "other.log"))


def test_no_trial_begins_after_the_time_on_the_clock(tmp_path: Path) -> None:
    space = {"a": {"low": 0.0, "high": 2.0}}
    short, long = (case(space, search={"at_most": timedelta(seconds=limit)}) for limit in (1e-6, 600))
    assert len(searched(short, tmp_path / "trials.log").trials) == 1
    assert len(searched(short, tmp_path / "trials.log").trials) == 1  # the clock starts anew, the study does not
    assert len(searched(long, tmp_path / "trials.log").trials) == 5


def test_two_cutoffs_are_two_studies_in_one_file(tmp_path: Path) -> None:
    of, file = case({"a": {"low": 0.0, "high": 2.0}}), tmp_path / "trials.log"
    first = searched(of, file, study="2024-01-08")
    second = searched(of, file, ONES.with_columns(fraud=pl.lit(2)), study="2024-01-15")
    assert first.params["a"] == min((trial.params["a"] for trial in first.trials), key=lambda a: abs(a - 1))
    assert second.params["a"] == max(trial.params["a"] for trial in second.trials)
    assert tried(searched(of, file, study="2024-01-08")) == tried(first)


def test_more_trials_go_on_with_the_study_and_another_space_is_another_study(tmp_path: Path) -> None:
    space, file = {"a": {"low": 0.0, "high": 2.0}}, tmp_path / "trials.log"
    five = searched(case(space), file)
    assert tried(searched(case(space, search={"trials": 7}), file))[:5] == tried(five)
    assert tried(searched(case(space), file)) == tried(five)
    other = searched(case({"a": {"low": 5.0, "high": 6.0}}), file)
    assert all(5 <= trial.params["a"] <= 6 for trial in other.trials)


def test_a_trial_that_the_estimator_refuses_has_no_value(tmp_path: Path) -> None:
    result = searched(case({"refuse": [False, True]}, search={"trials": 20}), tmp_path / "trials.log")
    assert {(trial.params["refuse"], trial.value, trial.failure) for trial in result.trials} == {
        (False, 1.0, None),
        (True, None, "it is refused"),
    }
    assert result.params == {"refuse": False}


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ({"aa": [1]}, f"{CONSTANT} has no parameter 'aa'; did you mean 'a'?"),
        ({"refuse": [True]}, "it is refused"),
        ({"a": ["many"]}, "could not convert string to float: 'many'"),
    ],
)
def test_if_no_trial_gives_a_model_the_reason_is_told_and_the_study_forgotten(
    tmp_path: Path, space: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match="none of 5 trials") as refusal:
        searched(case(space), tmp_path / "trials.log")
    assert str(refusal.value) == f"none of 5 trials of model.search gave a model; the first: {sentence}"
    lines = (tmp_path / "trials.log").read_text().splitlines()
    assert json.loads(lines[-1])["op_code"] == 1  # the study is deleted


def test_an_undefined_metric_is_no_value(tmp_path: Path) -> None:
    of = case(
        {"strategy": ["prior"]},
        "sklearn.dummy.DummyClassifier",
        task="binary_classification",
        search={"metric": "precision"},
        model={"threshold": 0.99},
    )
    with pytest.raises(
        ValueError, match=r"precision is undefined in fold 1 of 3 .*; choose another model.search.metric"
    ):
        searched(of, tmp_path / "trials.log", table())


def test_a_fold_of_one_class_is_refused_before_any_trial(tmp_path: Path) -> None:
    of = case({"max_depth": [1]}, TREE, task="binary_classification")
    with pytest.raises(ValueError, match=r"fold 1 of 3 .* has only rows of class"):
        searched(of, tmp_path / "trials.log")
    assert not (tmp_path / "trials.log").exists()


def test_without_optuna_it_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r"^model\.search needs optuna; install ml-platform\[tuning\]\.$"):
        searched(case({"a": [1]}), tmp_path / "trials.log")


def test_optuna_is_imported_only_for_a_search() -> None:
    code = "import sys, ml_platform.ml.search, ml_platform.ml.thresholds; sys.exit('optuna' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
