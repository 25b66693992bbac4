"""The label as a model learns it."""

from typing import Any

import polars as pl
import pytest

from ml_platform.ml.labels import labels
from ml_platform.ml.leakage import leaks_in
from ml_platform.use_case import Task, UseCase
from ml_platform_tests.examples import use_case


def case(kind: str, task: Task = "binary_classification", positive: Any = None) -> UseCase:
    return use_case(
        task=task,
        partitions="none",
        contract={"columns": {"fraud": None, "y": {"type": kind}}},
        label={"column": "y", "positive": positive},
    )


@pytest.mark.parametrize(
    ("values", "of", "expected"),
    [
        ([True, False], case("boolean"), [1.0, 0.0]),
        ([True, False], case("boolean", positive=False), [0.0, 1.0]),
        ([0, 1], case("int64"), [0.0, 1.0]),
        ([3, 1, 2], case("int64", positive=3), [1.0, 0.0, 0.0]),
        (["Yes", "No", "maybe"], case("string", positive="Yes"), [1.0, 0.0, 0.0]),
        (["b", "a"], case("string", "multiclass_classification"), ["b", "a"]),
        ([2, 5], case("int64", "regression"), [2.0, 5.0]),
    ],
)
def test_a_label_is_a_number_or_a_class(values: list[Any], of: UseCase, expected: list[Any]) -> None:
    assert labels(pl.DataFrame({"y": values}), of).tolist() == expected


@pytest.mark.parametrize(
    ("values", "of", "sentence"),
    [
        (["Yes"], case("string"), "the label y is text; name the value that counts as 1 in label.positive."),
        (["7"], case("string", "regression"), "the label y is text; make it a number in the transform."),
        (
            [1.0],
            case("string", positive="Yes"),
            "the label y is Float64 and label.positive is 'Yes'; write a value of the label.",
        ),
    ],
)
def test_a_label_that_is_no_number_is_refused_with_what_to_do(values: list[Any], of: UseCase, sentence: str) -> None:
    with pytest.raises(ValueError, match="the label y") as refusal:
        labels(pl.DataFrame({"y": values}), of)
    assert str(refusal.value) == sentence


def test_a_copy_of_a_positive_value_among_several_others_is_a_leak() -> None:
    table = pl.DataFrame({"id": range(300), "y": ["Yes", "No", "maybe"] * 100, "paid": [0.0, 1.0, 1.0] * 100})
    (leak,) = leaks_in(case("string", positive="Yes"), table)
    assert (leak.feature, leak.kind) == ("paid", "copy of the label")
