"""The schema of a use case: what it takes, and each refusal at its field with what was meant."""

import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from ml_platform import defs, use_case
from ml_platform.blocks import MEMORY_UNITS, UNITS, Duration, Memory, Share, write_memory
from ml_platform.ml import metrics
from ml_platform.use_case import Behaviour, Column, Gate, Range, Task, ThresholdRule, UseCase
from ml_platform.use_case.modelling import DEFAULT_PARAMS
from ml_platform_tests.examples import attributes
from ml_platform_tests.examples import use_case as example

Location = tuple[str | int, ...]

DURATION, SHARE = TypeAdapter[timedelta](Duration), TypeAdapter[float](Share)
MEMORY = TypeAdapter[int](Memory)
HOW_TO_WRITE_A_DURATION = "is no duration; write a whole number and a unit, such as '7 days' or '12 hours'."


def mistakes(validate: Callable[[Any], object], value: object) -> dict[Location, str]:
    """The sentences of a refusal by the location of their field, none where the value is taken."""
    try:
        validate(value)
    except ValidationError as error:
        return {one["loc"]: one["msg"].removeprefix("Value error, ") for one in error.errors()}
    return {}


def told(**changes: Any) -> dict[Location, str]:
    """The mistakes in the tiny use case after changes."""
    return mistakes(UseCase.model_validate, attributes(**changes))


def test_the_shipped_use_cases_are_valid() -> None:
    files = list(Path(str(defs.__file__)).parent.rglob("defs.yaml"))
    assert [UseCase.model_validate(yaml.safe_load(file.read_text())["attributes"]).name for file in files] == [
        file.parent.name for file in files
    ]
    assert files


@pytest.mark.parametrize("task", get_args(Task))
def test_the_metrics_a_gate_may_name_are_those_that_are_computed(task: Task) -> None:
    assert set(use_case.METRICS[task]) == set(metrics.METRICS[task])


def test_a_use_case_is_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        example().model.seed = 7  # type: ignore[misc]


def test_without_partitions_there_are_no_windows() -> None:
    assert example(partitions="none").windows is None
    assert example().windows == example().partitions


@pytest.mark.parametrize(
    ("condition", "name"),
    [
        ({"at_least": 0.8}, "f1_at_least"),
        ({"at_most": 0.2}, "f1_at_most"),
        ({"no_worse_than": "champion", "margin": 0.01}, "f1_no_worse_than_champion"),
        ({"better_than": "linear"}, "f1_better_than_linear"),
        ({"better_than": "prior", "margin": 0.1}, "f1_better_than_prior"),
        ({"at_most": 0.2, "of": "worst_slice"}, "f1_at_most_worst_slice"),
        ({"at_least": 0.0}, "f1_at_least"),
    ],
)
def test_a_gate_is_named_after_its_metric_and_condition(condition: dict[str, Any], name: str) -> None:
    assert Gate(metric="f1", **condition).name == name


@settings(deadline=None)
@given(st.integers(0, 9_999), st.sampled_from(sorted(UNITS)), st.sampled_from(["", "s"]), st.sampled_from([" ", "   "]))
def test_a_duration_is_a_whole_number_and_a_unit(number: int, unit: str, plural: str, space: str) -> None:
    found = DURATION.validate_python(f" {number}{space}{unit}{plural} ")
    assert found == number * timedelta(**{f"{unit}s": 1})


@settings(deadline=None)
@given(st.text() | st.from_regex(r"-?[0-9.,]* ?(day|Day|month|dayss|d)s?", fullmatch=True))
def test_any_other_text_is_no_duration(text: str) -> None:
    number, _, unit = text.strip().partition(" ")
    assume(not (number.isdigit() and unit.strip().removesuffix("s") in UNITS))
    assert mistakes(DURATION.validate_python, text) == {(): f"'{text}' {HOW_TO_WRITE_A_DURATION}"}


@pytest.mark.parametrize("text", ["² days", "9999999999999 days"])
def test_a_number_out_of_reach_is_no_duration(text: str) -> None:
    assert mistakes(DURATION.validate_python, text) == {(): f"'{text}' {HOW_TO_WRITE_A_DURATION}"}


@pytest.mark.parametrize("value", [7, -7, 7.5, True, timedelta(days=-1)])
def test_a_number_without_a_unit_is_no_duration(value: object) -> None:
    with pytest.raises(ValidationError, match="is no duration"):
        DURATION.validate_python(value)


@settings(deadline=None)
@given(st.decimals(0, 100, places=3))
def test_a_share_is_a_percentage_or_a_number(percentage: Any) -> None:
    for written in (f"{percentage}%", str(float(percentage) / 100), float(percentage) / 100):
        assert SHARE.validate_python(written) == pytest.approx(float(percentage) / 100)


@settings(deadline=None)
@given(st.text() | st.from_regex(r"[-+]?[0-9.]+ ?%?", fullmatch=True) | st.floats())
def test_a_share_is_never_outside_0_to_1(written: str | float) -> None:
    assert mistakes(SHARE.validate_python, written) or 0 <= SHARE.validate_python(written) <= 1


NUMBERS = st.integers(-1_000, 1_000) | st.floats(-1e6, 1e6)
SHARES = st.floats(0, 1)
RULES = st.one_of(
    st.fixed_dictionaries({"precision_at_least": SHARES}),
    st.fixed_dictionaries({"recall_at_least": SHARES}),
    st.fixed_dictionaries({"maximize": st.sampled_from(["f1", "balanced_accuracy"])}),
    st.fixed_dictionaries(
        {"costs": st.fixed_dictionaries({"false_positive": st.just(1), "false_negative": st.just(9)})}
    ),
)
RANGES = st.tuples(NUMBERS, NUMBERS, st.booleans()).map(
    lambda one: {"low": min(one[:2]), "high": max(one[:2]), "log": one[2] and min(one[:2]) > 0}
)
SPACES = st.dictionaries(
    st.sampled_from(["C", "tol", "solver"]),
    RANGES.filter(lambda one: one["low"] < one["high"])
    | st.lists(NUMBERS | st.booleans() | st.sampled_from(["lbfgs", "saga"]), min_size=1),
    min_size=1,
)
GATES = st.one_of(
    st.fixed_dictionaries({"metric": st.just("roc_auc"), "at_least": st.floats(0, 1, exclude_min=True)}),
    st.fixed_dictionaries({"metric": st.just("log_loss"), "at_most": SHARES, "of": st.just("worst_slice")}),
    st.fixed_dictionaries({"metric": st.just("f1"), "no_worse_than": st.just("champion"), "margin": st.just(0.1)}),
    st.fixed_dictionaries({"metric": st.just("f1"), "better_than": st.sampled_from(["linear", "prior", "champion"])}),
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "features": st.builds(lambda number: {"lookback": f"{number} hours"}, st.integers(0, 99)),
        "model": st.fixed_dictionaries(
            {},
            optional={
                "threshold": SHARES | RULES,
                "search": st.fixed_dictionaries({"space": SPACES}, optional={"at_most": st.just("90 minutes")}),
                "leakage": st.just({"alone_at_most": "98%", "allowed": ["city"]}),
                "refit": st.booleans(),
            },
        ),
        "evaluation": st.fixed_dictionaries(
            {"slices": st.just(["city"])},
            optional={
                "behaviour": st.just([{"invariant_to": "city"}, {"increases_with": "amount", "rows_at_most": 0.1}]),
                "latency": st.just({"one_row_ms": 5}),
            },
        ),
        "gates": GATES.map(lambda gate: [gate]),
        "contract": st.just({"entity": "city", "quarantine_at_most": "5%"}),
    },
)


@settings(max_examples=50, deadline=None)
@given(CHANGES)
def test_what_is_written_of_a_use_case_reads_as_the_same(changes: dict[str, Any]) -> None:
    slices = {"evaluation": {"slices": ["city"]}} if "gates" in changes and "evaluation" not in changes else {}
    declared = example(**changes, **slices)
    assert UseCase.model_validate(declared.model_dump(mode="json", exclude_unset=True)) == declared
    # a model's run in the tracking server has all keys, those that are not set too
    assert UseCase.model_validate(declared.model_dump(mode="json")) == declared
    assert UseCase.model_validate(json.loads(declared.model_dump_json())) == declared


def test_what_is_written_of_the_shipped_use_cases_reads_as_the_same() -> None:
    for file in Path(str(defs.__file__)).parent.rglob("defs.yaml"):
        shipped = UseCase.model_validate(yaml.safe_load(file.read_text())["attributes"])
        assert UseCase.model_validate(shipped.model_dump(mode="json", exclude_unset=True)) == shipped
        assert UseCase.model_validate(shipped.model_dump(mode="json")) == shipped


def test_as_json_a_use_case_can_be_read_again() -> None:
    declared = example(
        features={"lookback": "36 hours"},
        label={"known_after": "90 minutes"},
        model={"train_on": "2 weeks", "threshold": {"recall_at_least": "5%"}},
        gates=[{"metric": "roc_auc", "at_least": 0.6}],
    )
    written = json.loads(declared.model_dump_json(exclude_unset=True))
    assert UseCase.model_validate(written) == declared
    assert written["features"]["lookback"] == "36 hours"
    assert written["model"]["train_on"] == "14 days"


def test_a_duration_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(ValueError, match="is no whole number of seconds"):
        example(features={"lookback": timedelta(milliseconds=30)}).model_dump_json()


@given(st.integers(1, 99_999), st.sampled_from(sorted(MEMORY_UNITS)))
def test_a_size_of_memory_is_a_whole_number_and_a_unit(number: int, unit: str) -> None:
    size = MEMORY.validate_python(f"{number} {unit}")
    assert size == number * MEMORY_UNITS[unit]
    assert MEMORY.validate_python(write_memory(size)) == size


@pytest.mark.parametrize("text", ["4", "GB", "4GB", "0 GB", "-1 GB", "1.5 GB", "4 gigs", "9" * 400 + " GB", True, 0, 4])
def test_any_other_value_is_no_size_of_memory(text: object) -> None:
    with pytest.raises(ValidationError, match="is no size of memory; write a whole number and a unit"):
        MEMORY.validate_python(text)


@pytest.mark.parametrize(
    ("limits", "at", "message"),
    [
        ({"quarantine": {}}, ("limits", "quarantine"), "quarantine is made with validated_data; limit that."),
        ({"promotion": {}}, ("limits", "promotion"), "promotion moves the champion, which is not cut off half-way"),
        ({"features": {"time": "0 minutes"}}, ("limits", "features", "time"), "greater than"),
        ({"featurs": {}}, ("limits", "featurs", "[key]"), "did you mean 'features'?"),
    ],
)
def test_a_limit_is_of_a_stage_that_can_be_ended(limits: dict[str, Any], at: tuple[str, ...], message: str) -> None:
    (place, said) = next(iter(mistakes(lambda _: example(limits=limits), None).items()))
    assert place == at
    assert message in said


def test_limits_are_written_as_they_stand_in_the_file() -> None:
    declared = example(limits={"features": {"time": "90 seconds", "memory": "4 GB"}})
    written = json.loads(declared.model_dump_json(exclude_unset=True))
    assert written["limits"] == {"features": {"time": "90 seconds", "memory": "4 GB"}}
    assert UseCase.model_validate(written) == declared


@pytest.mark.parametrize("text", ["two percent", "", "%", "2%%"])
def test_a_text_that_is_no_share_is_told_how_to_write_one(text: str) -> None:
    assert mistakes(SHARE.validate_python, text) == {(): f"'{text}' is no share; write a percentage such as '2%'."}


def test_yes_is_no_share() -> None:
    with pytest.raises(ValidationError, match="is no share"):
        SHARE.validate_python(True)


@pytest.mark.parametrize(
    ("changes", "location", "sentence"),
    [
        ({"taks": "regression"}, ("taks",), "unknown key 'taks'; did you mean 'task'?"),
        ({"model": {"estimatr": "x"}}, ("model", "estimatr"), "unknown key 'estimatr'; did you mean 'estimator'?"),
        (
            {"contract": {"columns": {"amount": {"type": "float64", "least": 0}}}},
            ("contract", "columns", "amount", "least"),
            "unknown key 'least'; there is 'format', 'matches', 'max', 'min', 'nullable', 'one_of', 'type'.",
        ),
        (
            {"gates": [{"metric": "f1", "at_last": 0.5}]},
            ("gates", 0, "at_last"),
            "unknown key 'at_last'; did you mean 'at_least'?",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_what_was_meant(
    changes: dict[str, Any], location: Location, sentence: str
) -> None:
    assert told(**changes) == {location: sentence}


@pytest.mark.parametrize(
    ("changes", "location", "sentence"),
    [
        (
            {"task": "binary_clasification"},
            ("task",),
            "'binary_clasification' is not allowed here; did you mean 'binary_classification'?",
        ),
        (
            {"contract": {"columns": {"amount": {"type": "float"}}}},
            ("contract", "columns", "amount", "type"),
            "'float' is not allowed here; did you mean 'float64'?",
        ),
        (
            {"model": {"every": "hour"}},
            ("model", "every"),
            "'hour' is not allowed here; there is 'day', 'month', 'week'.",
        ),
        (
            {"model": {"weekday": "wensday"}},
            ("model", "weekday"),
            "'wensday' is not allowed here; did you mean 'wednesday'?",
        ),
        (
            {"gates": [{"metric": "f1", "no_worse_than": "champoin"}]},
            ("gates", 0, "no_worse_than"),
            "'champoin' is not allowed here; did you mean 'champion'?",
        ),
    ],
)
def test_a_wrong_word_is_refused_with_what_was_meant(
    changes: dict[str, Any], location: Location, sentence: str
) -> None:
    assert told(**changes) == {location: sentence}


TEXT = {"city": {"type": "string", "one_of": ["Bern", "Rome"]}}
OTHER = {"path": "data/other.csv", "type": "files", "format": "csv"}


@pytest.mark.parametrize(
    ("changes", "location", "sentence"),
    [
        (
            {"label": {"positive": "Yes"}},
            ("label", "positive"),
            "'Yes' is no value of 'fraud', which is int64; write one as the data has it, text in quotes.",
        ),
        (
            {"label": {"column": "city", "positive": True}},
            ("label", "positive"),
            "True is no value of 'city', which is string; write one as the data has it, text in quotes.",
        ),
        (
            {"label": {"column": "city", "positive": "Oslo"}, "contract": {"columns": TEXT}},
            ("label", "positive"),
            "'city' is never 'Oslo'; write one of 'Bern', 'Rome'.",
        ),
        (
            {"label": {"positive": 1}, "task": "regression"},
            ("label", "positive"),
            "a positive value belongs to binary_classification; regression has none. Remove it.",
        ),
        (
            {"features": {"inputs": {"other": OTHER}}},
            ("features", "inputs"),
            "only a transform takes inputs; name it in features.transform.",
        ),
        (
            {"features": {"transform": "a:b", "inputs": {"other rows": OTHER}}},
            ("features", "inputs", "other rows"),
            "'other rows' can be no argument of a function; write a name such as weather.",
        ),
        (
            {"features": {"transform": "a:b", "inputs": {"other": {**OTHER, "path": "data/{partition}.csv"}}}},
            ("features", "inputs", "other", "path"),
            "an input is read whole, for all partitions; write a path without {partition}, or with *.",
        ),
    ],
)
def test_a_positive_value_or_an_input_that_does_not_fit_is_refused(
    changes: dict[str, Any], location: Location, sentence: str
) -> None:
    assert told(**changes) == {location: sentence}


def test_an_estimator_that_is_left_out_is_boosting_of_the_task_with_its_own_parameters() -> None:
    default = example(task="regression", model={"estimator": None, "params": {"max_iter": 7}})
    assert default.estimator == "sklearn.ensemble.HistGradientBoostingRegressor"
    assert default.params == {**DEFAULT_PARAMS, "max_iter": 7}
    assert example(model={"params": {"C": 2.0}}).params == {"C": 2.0}


@pytest.mark.parametrize(
    ("changes", "location"),
    [
        ({"task": None}, ("task",)),
        ({"contract": {"key": None}}, ("contract", "key")),
        ({"gates": [{"at_least": 0.5}]}, ("gates", 0, "metric")),
    ],
)
def test_a_missing_key_is_named(changes: dict[str, Any], location: Location) -> None:
    assert told(**changes) == {location: f"the key '{location[-1]}' is missing."}


@pytest.mark.parametrize(
    ("changes", "location", "value"),
    [
        ({"name": "Card Fraud"}, ("name",), "'Card Fraud'"),
        ({"owners": "team:risk"}, ("owners",), "'team:risk'"),
        ({"model": {"seed": "forty"}}, ("model", "seed"), "'forty'"),
        ({"model": {"seed": -1}}, ("model", "seed"), "-1"),
        ({"model": {"threshold": 2}}, ("model", "threshold"), "2"),
        ({"model": {"hold_out_share": "150%"}}, ("model", "hold_out_share"), "1.5"),
        ({"model": {"params": ["C"]}}, ("model", "params"), "['C']"),
        ({"features": {"transform": "features"}}, ("features", "transform"), "'features'"),
        ({"contract": {"key": "id"}}, ("contract", "key"), "'id'"),
        ({"contract": {"key": []}}, ("contract", "key"), "[]"),
        ({"label": "fraud"}, ("label",), "'fraud'"),
        ({"registry": {"name": "a b"}}, ("registry", "name"), "'a b'"),
    ],
)
def test_a_value_of_the_wrong_kind_is_shown_at_its_field(
    changes: dict[str, Any], location: Location, value: str
) -> None:
    ((found, sentence),) = told(**changes).items()
    assert found == location
    assert sentence.endswith(f" (here: {value}).")


def test_several_mistakes_are_told_at_once() -> None:
    several = told(taks="x", model={"seed": "forty", "every": "hour"}, label={"known_after": "soon"})
    assert set(several) == {("taks",), ("model", "seed"), ("model", "every"), ("label", "known_after")}


@pytest.mark.parametrize(
    ("changes", "location", "sentence"),
    [
        (
            {"label": {"column": "fruad"}},
            ("label", "column"),
            "the contract has no column 'fruad'; did you mean 'fraud'?",
        ),
        (
            {"contract": {"key": ["id", "ammount"]}},
            ("contract", "key", 1),
            "the contract has no column 'ammount'; did you mean 'amount'?",
        ),
        (
            {"contract": {"event_time": "time"}},
            ("contract", "event_time"),
            "the contract has no column 'time'; there is 'amount', 'at', 'city', 'fraud', 'id'.",
        ),
        (
            {"contract": {"event_time": "amount"}},
            ("contract", "event_time"),
            "the event time must be a datetime, 'amount' is float64.",
        ),
        (
            {"contract": {"event_time": None}},
            ("contract",),
            "partitions need the contract's event_time; name its datetime column, or set partitions: none.",
        ),
        ({"model": {"train_on": None}}, ("model",), "with partitions the model needs 'train_on', such as '7 days'."),
        (
            {"model": {"hold_out": "0 days"}},
            ("model",),
            "with partitions the model needs 'hold_out', such as '7 days'.",
        ),
        (
            {"partitions": "none", "features": {"lookback": "1 day"}},
            ("features", "lookback"),
            "a lookback needs partitions; remove it, or set partitions.",
        ),
        (
            {"gates": [{"metric": "f1", "at_least": 0.5}, {"metric": "roc_acu", "at_least": 0.5}]},
            ("gates", 1, "metric"),
            "binary_classification has no metric 'roc_acu'; did you mean 'roc_auc'?",
        ),
        (
            {"task": "regression", "gates": [{"metric": "roc_auc", "at_least": 0.5}]},
            ("gates", 0, "metric"),
            "regression has no metric 'roc_auc'; there is 'mean_absolute_error', 'r2', 'root_mean_squared_error'.",
        ),
        (
            {"gates": [{"metric": "f1", "at_least": 0.5}, {"metric": "f1", "at_least": 0.6}]},
            ("gates", 1),
            "this gate stands twice; keep one 'f1_at_least'.",
        ),
        (
            {"evaluation": {"slices": ["city", "city"]}},
            ("evaluation", "slices", 1),
            "the column 'city' stands twice; keep one.",
        ),
        (
            {"contract": {"key": ["model"], "columns": {"model": {"type": "int64"}}}},
            ("contract", "key", 0),
            "no key may be called 'model', which is a column of scores; rename it in the source.",
        ),
        (
            {"contract": {"columns": {"ID": {"type": "int64"}}}},
            ("contract", "columns", "ID"),
            "'ID' and 'id' differ in case only, which a table cannot hold; rename one at the source.",
        ),
        (
            {"gates": [{"metric": "f1"}]},
            ("gates", 0, "metric"),
            "a gate has exactly one of at_least, at_most, no_worse_than and better_than.",
        ),
        (
            {"gates": [{"metric": "f1", "at_least": 0.5, "at_most": 0.9}]},
            ("gates", 0, "metric"),
            "a gate has exactly one of at_least, at_most, no_worse_than and better_than.",
        ),
    ],
)
def test_fields_that_do_not_fit_together_are_refused_at_the_field_to_change(
    changes: dict[str, Any], location: Location, sentence: str
) -> None:
    assert told(**changes) == {location: sentence}


ONE_RULE = "give exactly one of precision_at_least, recall_at_least, maximize and costs."
NO_MARGIN = "no model is surely not worse at all; write the loss that may pass, such as margin: 0.01."
NO_MARGIN_HERE = "a margin belongs to no_worse_than or better_than; remove it."


@pytest.mark.parametrize(
    ("rule", "location", "sentence"),
    [
        ({}, (), ONE_RULE),
        ({"precision_at_least": "80%", "recall_at_least": "80%"}, (), ONE_RULE),
        ({"maximize": "f1", "costs": {"false_positive": 1, "false_negative": 9}}, (), ONE_RULE),
        ({"precision_at_least": None}, (), ONE_RULE),
        ({"maximize": "f2"}, ("maximize",), "'f2' is not allowed here; there is 'balanced_accuracy', 'f1'."),
        ({"precision": 0.8}, ("precision",), "unknown key 'precision'; did you mean 'precision_at_least'?"),
        ({"costs": {"false_positive": 1}}, ("costs", "false_negative"), "the key 'false_negative' is missing."),
        (
            {"costs": {"false_positive": 1, "false_negative": 0}},
            ("costs", "false_negative"),
            "Input should be greater than 0 (here: 0).",
        ),
    ],
)
def test_a_threshold_has_exactly_one_rule(rule: dict[str, Any], location: Location, sentence: str) -> None:
    assert told(model={"threshold": rule}) == {("model", "threshold", *location): sentence}


@pytest.mark.parametrize(
    "rule", [{"precision_at_least": "80%"}, {"recall_at_least": 0}, {"maximize": "f1", "costs": None}]
)
def test_a_threshold_may_be_a_rule(rule: dict[str, Any]) -> None:
    assert example(model={"threshold": rule}).model.threshold == ThresholdRule.model_validate(rule)


@pytest.mark.parametrize("task", ["regression", "multiclass_classification"])
@pytest.mark.parametrize("threshold", [{"maximize": "f1"}, 0.7])
def test_only_a_binary_classification_has_a_threshold(task: Task, threshold: Any) -> None:
    assert told(task=task, model={"threshold": threshold}) == {
        ("model", "threshold"): f"a threshold belongs to binary_classification; {task} has none. Remove it."
    }
    assert told(task=task) == {}


@pytest.mark.parametrize(
    ("values", "location", "sentence"),
    [
        ({"low": 1, "high": 1}, ("high",), "1 is not above 1; write a greater one."),
        ({"low": 2, "high": 1.5}, ("high",), "1.5 is not above 2; write a greater one."),
        ({"low": 0, "high": 1, "log": True}, ("low",), "0 has no order of magnitude; write one above 0."),
        ({"low": -0.5, "high": 1, "log": True}, ("low",), "-0.5 has no order of magnitude; write one above 0."),
        ({"low": 1}, ("high",), "the key 'high' is missing."),
        ({"low": 1, "hihg": 2, "high": 3}, ("hihg",), "unknown key 'hihg'; did you mean 'high'?"),
        ({"low": "a", "high": 3}, ("low",), "'a' is not a number."),
        ({"low": 1, "high": float("inf")}, ("high",), "inf is not a number."),
    ],
)
def test_a_range_goes_up_and_has_a_logarithm_where_it_is_searched_by_it(
    values: dict[str, Any], location: Location, sentence: str
) -> None:
    assert mistakes(Range.model_validate, values) == {location: sentence}
    assert told(model={"search": {"space": {"C": values}}}) == {("model", "search", "space", "C", *location): sentence}


@pytest.mark.parametrize(
    ("search", "location", "sentence"),
    [
        (
            {"space": {"C": [1, 2]}, "metric": "roc_acu"},
            ("metric",),
            "binary_classification has no metric 'roc_acu'; did you mean 'roc_auc'?",
        ),
        ({}, ("space",), "the key 'space' is missing."),
        ({"space": {"C": [1, 2]}, "trails": 5}, ("trails",), "unknown key 'trails'; did you mean 'trials'?"),
    ],
)
def test_a_search_has_a_space_and_a_metric_of_its_task(
    search: dict[str, Any], location: Location, sentence: str
) -> None:
    assert told(model={"search": search}) == {("model", "search", *location): sentence}


@pytest.mark.parametrize("space", [{}, {"C": []}, {"C": [[1]]}, {"C": 1}])
def test_a_space_without_values_is_refused(space: dict[str, Any]) -> None:
    (location,) = told(model={"search": {"space": space}})
    assert location[: 3 + len(space)] == ("model", "search", "space", *space)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ({"invariant_to": "city"}, "invariant_to_city"),
        ({"increases_with": "amount"}, "increases_with_amount"),
        ({"decreases_with": "price in €"}, "decreases_with_price_in__"),
    ],
)
def test_a_rule_of_behaviour_is_named_after_its_column(rule: dict[str, Any], name: str) -> None:
    behaviour = Behaviour.model_validate(rule)
    assert (behaviour.name, behaviour.rule, behaviour.column) == (name, *next(iter(rule.items())))


@pytest.mark.parametrize(
    ("behaviour", "location", "sentence"),
    [
        ([{}], (0,), "give exactly one of invariant_to, increases_with and decreases_with."),
        (
            [{"invariant_to": "city"}, {"increases_with": "amount", "decreases_with": "amount"}],
            (1,),
            "give exactly one of invariant_to, increases_with and decreases_with.",
        ),
        ([{"invariant_to": "city"}] * 2, (1,), "this rule stands twice; keep one 'invariant_to_city'."),
        (
            [{"invariant_to": "city", "rows_at_most": 1.5}],
            (0, "rows_at_most"),
            "Input should be less than or equal to 1 (here: 1.5).",
        ),
    ],
)
def test_a_rule_of_behaviour_is_one_and_stands_once(
    behaviour: list[dict[str, Any]], location: Location, sentence: str
) -> None:
    assert told(evaluation={"behaviour": behaviour}) == {("evaluation", "behaviour", *location): sentence}


@pytest.mark.parametrize(
    ("gate", "field", "sentence"),
    [
        ({"no_worse_than": "champion"}, "margin", NO_MARGIN),
        ({"no_worse_than": "linear", "margin": 0}, "margin", NO_MARGIN),
        ({"at_least": 0.5, "margin": 0.1}, "margin", NO_MARGIN_HERE),
        ({"at_most": 0.5, "margin": 0}, "margin", NO_MARGIN_HERE),
        ({"better_than": "prior", "of": "worst_slice"}, "of", "slices are judged by at_least or at_most only."),
        (
            {"at_least": 0.5, "of": "worst_slice"},
            "of",
            "there are no slices; name their columns in evaluation.slices.",
        ),
        (
            {"better_than": "lineer"},
            "better_than",
            "'lineer' is not allowed here; did you mean 'linear'?",
        ),
        (
            {"better_than": "prior", "margin": -0.1},
            "margin",
            "Input should be greater than or equal to 0 (here: -0.1).",
        ),
    ],
)
def test_what_a_gate_does_not_need_or_lacks_is_told_at_its_field(
    gate: dict[str, Any], field: str, sentence: str
) -> None:
    assert told(gates=[{"metric": "f1", **gate}]) == {("gates", 0, field): sentence}


@pytest.mark.parametrize(
    ("task", "gate", "field", "sentence"),
    [
        (
            "binary_classification",
            {"metric": "roc_auc", "at_least": 1.5},
            "at_least",
            "roc_auc is at most 1, so no model meets this gate; write a smaller value.",
        ),
        (
            "binary_classification",
            {"metric": "log_loss", "at_most": -1},
            "at_most",
            "log_loss is never below 0, so no model meets this gate; write a greater value.",
        ),
        (
            "binary_classification",
            {"metric": "f1", "at_least": 0},
            "at_least",
            "f1 is never below 0, so every model meets this gate; write a greater value, or remove it.",
        ),
        (
            "multiclass_classification",
            {"metric": "calibration_error", "at_most": 1},
            "at_most",
            "calibration_error is at most 1, so every model meets this gate; write a smaller value, or remove it.",
        ),
        (
            "regression",
            {"metric": "r2", "at_least": 1.01},
            "at_least",
            "r2 is at most 1, so no model meets this gate; write a smaller value.",
        ),
        (
            "binary_classification",
            {"metric": "f1", "no_worse_than": "champion", "margin": 2},
            "margin",
            "f1 differs by at most 1, so every model meets this gate; write a smaller margin.",
        ),
        (
            "binary_classification",
            {"metric": "f1", "better_than": "prior", "margin": 1},
            "margin",
            "f1 differs by at most 1, so no model meets this gate; write a smaller margin.",
        ),
        ("regression", {"metric": "r2", "at_most": float("inf")}, "at_most", "Input should be a finite number"),
        ("regression", {"metric": "r2", "at_least": float("nan")}, "at_least", "Input should be a finite number"),
    ],
)
def test_a_gate_that_no_model_or_every_model_meets_is_refused(
    task: Task, gate: dict[str, Any], field: str, sentence: str
) -> None:
    ((place, said),) = told(task=task, gates=[gate]).items()
    assert place == ("gates", 0, field)
    assert said.startswith(sentence)


@pytest.mark.parametrize(
    "gate",
    [
        {"metric": "r2", "at_least": -5},
        {"metric": "r2", "better_than": "prior", "margin": 5},
        {"metric": "mean_absolute_error", "at_most": 5000},
        {"metric": "mean_absolute_error", "no_worse_than": "champion", "margin": 100},
    ],
)
def test_a_metric_without_a_bound_may_be_asked_for_anything(gate: dict[str, Any]) -> None:
    assert told(task="regression", gates=[gate]) == {}


def test_slices_may_be_judged_where_there_are_any() -> None:
    gates = [{"metric": "f1", "at_least": 0.5, "of": "worst_slice"}, {"metric": "f1", "at_least": 0.5}]
    assert told(gates=gates, evaluation={"slices": ["city"]}) == {}


def test_the_label_cuts_no_slices() -> None:
    assert told(evaluation={"slices": ["city", "fraud"]}) == {
        ("evaluation", "slices", 1): "'fraud' is the label; a slice of one label tells nothing, remove it."
    }


def test_an_entity_is_a_column_of_the_contract() -> None:
    assert told(contract={"entity": "citty"}) == {
        ("contract", "entity"): "the contract has no column 'citty'; did you mean 'city'?"
    }
    assert told(contract={"entity": "city"}) == {}


def test_without_partitions_there_is_no_refit() -> None:
    assert told(partitions="none", model={"refit": True}) == {
        ("model", "refit"): (
            "without partitions a champion that was trained once more has seen the rows that the next models are "
            "judged on; remove refit, or set partitions."
        )
    }
    assert told(partitions="none", model={"refit": False}) == {}
    assert told(model={"refit": True}) == {}


@pytest.mark.parametrize(
    ("column", "field", "sentence"),
    [
        ({"type": "string", "min": 0.5}, "min", "min 0.5 does not fit a column of type string."),
        ({"type": "datetime", "max": 0.5}, "max", "max 0.5 does not fit a column of type datetime."),
        (
            {"type": "float64", "min": date(2024, 1, 1)},
            "min",
            "min datetime.date(2024, 1, 1) does not fit a column of type float64.",
        ),
        (
            {"type": "int64", "matches": r"\d+"},
            "matches",
            "only a string can match a pattern, this column is int64.",
        ),
    ],
)
def test_a_rule_that_does_not_fit_its_column_is_refused(column: dict[str, Any], field: str, sentence: str) -> None:
    assert mistakes(Column.model_validate, column) == {(field,): sentence}


@pytest.mark.parametrize("bound", ["2024-01-31", date(2024, 1, 31), datetime(2024, 1, 31)])
def test_a_bound_of_a_datetime_is_a_day(bound: object) -> None:
    assert Column.model_validate({"type": "datetime", "max": bound}).max == date(2024, 1, 31)


@pytest.mark.parametrize(
    ("partitions", "field", "sentence"),
    [
        ({"every": "daily"}, "every", "'daily' is not allowed here; did you mean 'day'?"),
        ({"strat": "2024-01-01"}, "strat", "unknown key 'strat'; did you mean 'start'?"),
        ({"start": None}, "start", "the key 'start' is missing."),
        ({"end": "2023-12-31"}, "end", "the end 2023-12-31 is not after the start 2024-01-01."),
    ],
)
def test_a_wrong_key_of_the_partitions_is_refused_once(partitions: dict[str, Any], field: str, sentence: str) -> None:
    assert told(partitions=partitions) == {("partitions", field): sentence}


def test_a_wrong_key_of_the_partitions_is_refused_where_it_stands() -> None:
    mistake = told(partitions={"end": "2023-12-31"})
    assert "the end 2023-12-31 is not after the start 2024-01-01." in mistake.values()
    assert {location[0] for location in mistake} == {"partitions"}


@pytest.mark.parametrize(
    ("wrong", "field", "sentence"),
    [
        ({"pth": "y"}, "pth", "unknown key 'pth'; did you mean 'path'?"),
        ({"delimiter": ""}, "delimiter", "'' is no delimiter; write one character, such as ';' or \"\\t\"."),
        ({"format": "excel"}, "format", "'excel' is not allowed here; there is 'csv', 'jsonl', 'parquet'."),
    ],
)
def test_a_wrong_key_of_the_source_is_refused_where_it_stands(wrong: dict[str, Any], field: str, sentence: str) -> None:
    files = {"type": "files", "path": "x", "format": "csv"}
    assert told(source=files | wrong) == {("source", field): sentence}


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"type": "pyton", "function": ".a:b"}, "'pyton' is not allowed here; did you mean 'python'?"),
        ({"type": None, "path": "x"}, "the key 'type' is missing."),
    ],
)
def test_a_wrong_type_of_source_is_refused_with_what_was_meant(source: dict[str, Any], sentence: str) -> None:
    given = attributes() | {"source": {key: value for key, value in source.items() if value}}
    assert mistakes(UseCase.model_validate, given) == {("source", "type"): sentence}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({}, ()),
        ({"query": "select 1", "table": "sales"}, ()),
        ({"table": "sales", "address_variable": "postgresql://shop:secret@host/db"}, ("address_variable",)),
        ({"table": "sales", "after": ["a b"]}, ("after", 0)),
    ],
)
def test_a_wrong_sql_source_is_refused(wrong: dict[str, Any], field: tuple[str | int, ...]) -> None:
    said = told(source={"type": "sql", "address_variable": "SHOP"} | wrong)
    assert list(said) == [("source", *field)]
    assert "secret" not in str(said)  # an address may stand where the name of its variable should


def test_a_value_of_no_allowed_type_is_refused_once() -> None:
    python = {"type": "python", "function": ".simulator:rows", "arguments": {"start": date(2024, 1, 1)}}
    assert [location[-1] for location in told(source=python)] == ["start"]
    assert list(mistakes(Column.model_validate, {"type": "int64", "min": "a"})) == [("min",)]


@pytest.mark.parametrize(("every", "start"), [("week", "2024-01-02"), ("month", "2024-01-15")])
def test_a_start_that_no_partition_begins_on_is_refused(every: str, start: str) -> None:
    assert list(told(partitions={"every": every, "start": start})) == [("partitions", "start")]


@pytest.mark.parametrize("name", ["partition", "rescued", "violations", "__partition", "*", "^a$", 'a"b', "a\\b"])
def test_a_column_may_not_have_a_name_that_means_something_else(name: str) -> None:
    assert list(told(contract={"columns": {name: {"type": "string"}}})) == [("contract", "columns", name)]


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ({"type": "int64", "one_of": ["a"]}, "one_of"),
        ({"type": "int64", "one_of": [0.5]}, "one_of"),
        ({"type": "int64", "one_of": []}, "one_of"),
        ({"type": "boolean", "one_of": ["true"]}, "one_of"),
        ({"type": "date", "one_of": ["2024-01-01"]}, "one_of"),
        ({"type": "string", "one_of": ["a", 1]}, "one_of"),
        ({"type": "string", "matches": "("}, "matches"),
        ({"type": "string", "format": "%Y-%m-%d"}, "format"),
        *(({"type": "datetime", "format": form}, "format") for form in ("", "%H:%M", "%Q", "dd/mm/yyyy")),
        ({"type": "float64", "min": 3, "max": 2}, "max"),
        ({"type": "float64", "min": float("nan")}, "min"),
    ],
)
def test_a_rule_that_no_value_can_meet_is_refused(column: dict[str, Any], field: str) -> None:
    assert [location[0] for location in mistakes(Column.model_validate, column)] == [field]


def test_a_column_is_once_in_the_key() -> None:
    assert list(told(contract={"key": ["id", "id"]})) == [("contract", "key", 1)]


@pytest.mark.parametrize(
    ("changes", "location"),
    [
        ({"features": {"columns": ["amount", "fraud"]}}, ("features", "columns", 1)),
        ({"features": {"columns": []}}, ("features", "columns")),
        ({"label": {"column": "id"}}, ("label", "column")),
        ({"label": {"column": "at"}}, ("label", "column")),
        ({"contract": {"entity": "fraud"}}, ("contract", "entity")),
    ],
)
def test_the_label_is_neither_a_feature_nor_the_key(changes: dict[str, Any], location: Location) -> None:
    assert list(told(**changes)) == [location]


@pytest.mark.parametrize(
    ("volume", "location", "sentence"),
    [
        ({}, (), "no bound is given; write at_least, at_most or of_usual."),
        ({"at_lest": 5}, ("at_lest",), "unknown key 'at_lest'; did you mean 'at_least'?"),
        ({"at_least": 6, "at_most": 5}, ("at_most",), "no number is at least 6 and at most 5."),
        ({"at_least": 0}, ("at_least",), "Input should be greater than or equal to 1 (here: 0)."),
        (
            {"of_usual": "0%"},
            ("of_usual",),
            "0% allows any number of rows; write more, such as '50%', or remove it.",
        ),
    ],
)
def test_bounds_on_the_volume_that_mean_nothing_are_refused(
    volume: dict[str, Any], location: Location, sentence: str
) -> None:
    assert told(contract={"volume": volume}) == {("contract", "volume", *location): sentence}


def test_the_usual_volume_needs_partitions() -> None:
    assert told(partitions="none", contract={"volume": {"of_usual": "50%"}}) == {
        ("contract", "volume", "of_usual"): "the usual number of rows needs partitions; remove it, or set partitions."
    }
    assert told(partitions="none", contract={"volume": {"at_least": 5}}) == {}


def test_a_share_of_duplicates_that_quarantine_refuses_before_is_refused() -> None:
    assert told(contract={"duplicates_at_most": "5%"}) == {
        ("contract", "duplicates_at_most"): (
            "repeated keys count in quarantine_at_most too, which is 2%; write less, or raise it."
        )
    }
    assert told(contract={"duplicates_at_most": "5%", "quarantine_at_most": "5%"}) == {}


def check(**changes: Any) -> dict[str, Any]:
    """A check of the user's own, changed; None takes a key away."""
    given = {"name": "no_gap", "stage": "features", "function": ".checks:no_gap"} | changes
    return {key: value for key, value in given.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"name": None}, "name", "the key 'name' is missing."),
        (
            {"name": "no gap"},
            "name",
            "String should match pattern '^[A-Za-z0-9_]+$' (here: 'no gap').",
        ),
        (
            {"name": "complete"},
            "name",
            "features has a check 'complete' of the platform's; choose another name.",
        ),
        ({"stage": "feature"}, "stage", "'feature' is not allowed here; did you mean 'features'?"),
        (
            {"stage": "model"},
            "stage",
            "'model' is not allowed here; there is 'features', 'predictions', 'raw_data', 'validated_data'.",
        ),
        ({"severity": "warning"}, "severity", "'warning' is not allowed here; did you mean 'warn'?"),
        ({"function": None}, "function", "the key 'function' is missing."),
        ({"argumnts": {}}, "argumnts", "unknown key 'argumnts'; did you mean 'arguments'?"),
    ],
)
def test_a_mistake_in_a_check_is_told_at_its_field(changes: dict[str, Any], field: str, sentence: str) -> None:
    assert told(checks=[check(name="other"), check(**changes)]) == {("checks", 1, field): sentence}


def test_a_check_has_a_name_of_its_own_in_its_stage() -> None:
    assert told(checks=[check(), check(function=".checks:other")]) == {
        ("checks", 1, "name"): "features has two checks 'no_gap'; choose another name."
    }
    assert told(checks=[check(), check(stage="raw_data"), check(name="contract")]) == {}


def test_a_check_refuses_what_fails_it_unless_it_only_warns() -> None:
    judged = example(checks=[check(), check(name="other", severity="warn")]).checks
    assert [one.severity for one in judged] == ["error", "warn"]


def test_a_seed_that_scikit_learn_does_not_take_is_refused() -> None:
    assert list(told(model={"seed": 2**32})) == [("model", "seed")]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(UseCase.model_fields)), st.none() | st.integers() | st.text() | st.lists(st.integers()))
def test_whatever_stands_in_a_field_it_is_taken_or_refused_at_that_field(field: str, value: object) -> None:
    found = mistakes(UseCase.model_validate, attributes() | {field: value})
    assert {location[0] for location in found} <= {field}


@pytest.mark.parametrize(
    ("alerts", "field", "sentence"),
    [
        (
            {"channels": {"risk": "slack://T1/B2/c3"}},
            ("channels", "risk"),
            "this is no name of an environment variable",
        ),
        ({"channels": {"console": "RISK"}}, ("channels", "console"), "'console' is always there; choose another name."),
        ({"routes": {"low": ["risk"]}}, ("routes", "low", 0), "there is no channel 'risk'; there is 'console'."),
        ({"routes": {"lov": []}}, ("routes", "lov", "[key]"), "'lov' is not allowed here; did you mean 'low'?"),
        ({"severities": {"drft": "low"}}, ("severities", "drft", "[key]"), "did you mean 'drift'?"),
        ({"heartbeat": "at eight"}, ("heartbeat",), "'at eight' is no moment of the day; write true, or"),
        ({"heartbeat": "0 25 * * *"}, ("heartbeat",), "'0 25 * * *' is no moment of the day"),
        ({"late_after": "6"}, ("late_after",), HOW_TO_WRITE_A_DURATION),
    ],
)
def test_a_mistake_in_alerts_is_told(alerts: dict[str, Any], field: Location, sentence: str) -> None:
    found = told(alerts=alerts)
    assert sentence in found["alerts", *field]
    assert "slack://" not in found["alerts", *field]


@pytest.mark.parametrize(
    ("alerts", "low", "high", "heartbeat"),
    [
        ({}, ["console"], ["console"], ["console"]),
        ({"channels": {"risk": "RISK"}}, ["console"], ["risk"], ["risk"]),
        ({"channels": {"risk": "RISK"}, "routes": {"high": ["console"]}}, ["console"], ["console"], ["risk"]),
    ],
)
def test_who_is_told(alerts: dict[str, Any], low: list[str], high: list[str], heartbeat: list[str]) -> None:
    block = example(alerts=alerts).alerts
    assert (block.told("drift", "low"), block.told("drift", "high"), block.told("heartbeat", "low")) == (
        low,
        high,
        heartbeat,
    )
    assert example(alerts={"heartbeat": True}).alerts.heartbeat == "0 8 * * *"


@pytest.mark.parametrize(
    ("automation", "field", "sentence"),
    [
        ({"data": "daily"}, "data", "'daily' is no cron expression; write minute, hour, day, month and weekday"),
        ({"data": "0 25 * * *"}, "data", "the hour 25 is not between 0 and 23."),
        ({"training": "0 4 * * monday"}, "training", "'monday' is no weekday of a cron expression; write numbers"),
        (
            {"time_zone": "Europe/Berln"},
            "time_zone",
            "there is no time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?",
        ),
        ({"mode": "eager"}, "mode", "'eager' is not allowed here;"),
        ({True: True, "zone": "UTC"}, "zone", "unknown key 'zone'; "),
    ],
)
def test_automation_is_refused_at_its_field(automation: dict[Any, Any], field: str, sentence: str) -> None:
    (place, said), *others = told(automation=automation).items()
    assert (place, others) == (("automation", field), [])
    assert said.startswith(sentence)


@pytest.mark.parametrize("cron", ["0 2 * * *", "*/15 0-6 1,15 * 1-5", "59 23 31 12 7"])
def test_a_cron_expression_is_taken_as_it_is(cron: str) -> None:
    assert example(automation={"data": cron}).automation.data == cron


def test_monitoring_needs_no_words_and_takes_each_of_its_limits() -> None:
    rules = example(monitoring={"performance": {"loss": "10%"}, "retraining": {"cool_down": "2 days"}}).monitoring
    assert (rules.performance.loss, rules.retraining.cool_down) == (0.1, timedelta(days=2))
    assert (rules.drift.window, rules.drift.false_alarms) == (5, 0.5)
    assert set(told(monitoring={"drift": {"window": 0, "false_alarms": 0}, "performance": {"loss": "0%"}})) == {
        ("monitoring", "drift", "window"),
        ("monitoring", "drift", "false_alarms"),
        ("monitoring", "performance", "loss"),
    }
