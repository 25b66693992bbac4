"""Tables of intervals on one scale: what stands next to what, in which order, with how many decimals."""

import pytest

from ml_platform.ml.ranges import Measured, decimals, joined, number, ranges
from ml_platform.ml.report import Interval


def measured(point: float) -> Measured:
    return Measured(Interval(point, point - 1, point + 1, 0.95))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (-0.00001234, "-0.000012"),
        (0.00123, "0.00123"),
        (0.0123, "0.0123"),
        (1.0, "1.0000"),
        (12.3456, "12.346"),
        (-1234.56, "-1,234.6"),
        (1e6, "1,000,000"),
    ],
)
def test_a_number_alone_shows_three_digits_at_least(value: float, text: str) -> None:
    assert number(value, decimals([value])) == text


def test_the_greatest_of_some_numbers_says_how_many_decimals_all_have() -> None:
    assert decimals([0.5, -250.0, float("inf")]) == 2
    assert decimals([]) == 4


def test_what_rounds_to_zero_has_no_minus() -> None:
    assert number(-0.00001, 4) == "0.0000"


def test_models_are_joined_by_name_and_have_none_where_they_lack_it() -> None:
    assert joined([{"a": 1, "b": 2}, {"c": 3, "a": 4}]) == [("a", [1, 4]), ("b", [2, None]), ("c", [None, 3])]


@pytest.mark.parametrize(("falling", "order"), [(False, "bac"), (True, "cba")])
def test_rows_are_sorted_by_the_least_or_the_greatest_of_any_model(*, falling: bool, order: str) -> None:
    models = [{("a",): measured(2.0), ("b",): measured(3.0)}, {("b",): measured(1.0), ("c",): measured(9.0)}]
    assert [name for (name,), _ in ranges(models, [None, None], falling=falling).rows] == list(order)


def test_the_scale_holds_every_interval_and_every_mark() -> None:
    table = ranges([{("a",): measured(2.0)}], [11.0], falling=False)
    assert [table.place(value) for value in (1.0, 2.0, 11.0)] == [0.0, 10.0, 100.0]


def test_a_scale_of_one_value_is_a_scale() -> None:
    table = ranges([{("a",): Measured(Interval(2.0, 2.0, 2.0, 0.95))}], [None], falling=False)
    assert table.place(2.0) == 0.0
