"""Checks on the rows of one partition: bounds that hold on both sides, and what the user's own function may return."""

from statistics import median
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_platform.ml.checks import custom_problem, duplicates_problem, volume_problem
from ml_platform.ml.frames import FRAMES, kind
from ml_platform.use_case import Check, Volume

ROWS = pl.DataFrame({"id": [1, 2], "amount": [0.5, None]})
COUNTS = st.integers(0, 10**7)
PERCENT = st.integers(1, 100)


@settings(deadline=None)
@given(COUNTS, st.integers(1, 10**7), st.integers(0, 10**6))
def test_a_volume_within_its_bounds_is_no_problem(rows: int, at_least: int, more: int) -> None:
    volume = Volume(at_least=at_least, at_most=at_least + more)
    assert (volume_problem(rows, [], volume) is None) == (at_least <= rows <= at_least + more)


def test_a_volume_out_of_bounds_is_told_with_what_to_do() -> None:
    volume = Volume(at_least=100, at_most=200)
    assert volume_problem(99, [], volume) == (
        "99 rows keep the contract, at least 100 must; look for rows that the source left out, "
        "or lower contract.volume.at_least."
    )
    assert volume_problem(201, [], volume) == (
        "201 rows keep the contract, at most 200 may; look for rows that the source gave too many, "
        "or raise contract.volume.at_most."
    )


@settings(deadline=None)
@given(COUNTS, st.lists(COUNTS, min_size=7, max_size=28), PERCENT)
def test_a_volume_is_as_close_to_the_usual_one_as_its_share_says(rows: int, before: list[int], percent: int) -> None:
    usual = median(before)
    close = 100 * rows >= percent * usual and 100 * usual >= percent * rows
    assert (volume_problem(rows, before, Volume(of_usual=percent / 100)) is None) == close


@settings(deadline=None)
@given(COUNTS, st.lists(COUNTS, max_size=6), PERCENT)
def test_too_few_partitions_before_say_nothing(rows: int, before: list[int], percent: int) -> None:
    assert volume_problem(rows, before, Volume(of_usual=percent / 100)) is None


@settings(deadline=None)
@given(COUNTS, st.lists(COUNTS, max_size=40), st.lists(COUNTS, min_size=28, max_size=28))
def test_only_the_last_28_partitions_before_count(rows: int, old: list[int], new: list[int]) -> None:
    volume = Volume(of_usual=0.5)
    assert volume_problem(rows, [*old, *new], volume) == volume_problem(rows, new, volume)


def test_other_bounds_hold_where_the_usual_volume_is_not_known() -> None:
    assert volume_problem(9, [], Volume(at_least=10, of_usual=0.5)) is not None


@pytest.mark.parametrize(
    ("rows", "before", "limit"),
    [
        (499, [1000] * 9, "at least 50% of the usual 1000 must (the median of 9 partitions before)"),
        (2005, [1] * 20 + [1002] * 28, "at most 2 times the usual 1002 may (the median of 28 partitions before)"),
        (0, [7_654_321, 7_654_322] * 4, "at least 50% of the usual 7654321.5 must (the median of 8 partitions before)"),
    ],
)
def test_an_unusual_volume_is_told_with_the_usual_one(rows: int, before: list[int], limit: str) -> None:
    assert volume_problem(rows, before, Volume(of_usual=0.5)) == (
        f"{rows} rows keep the contract, {limit}; look at the source, or lower contract.volume.of_usual."
    )


@settings(deadline=None)
@given(st.integers(0, 10**6), st.data(), st.integers(0, 100))
def test_duplicates_up_to_their_share_are_no_problem(raw_rows: int, data: st.DataObject, percent: int) -> None:
    repeated = data.draw(st.integers(0, raw_rows))
    problem = duplicates_problem(raw_rows, repeated, percent / 100)
    assert (problem is None) == (100 * repeated <= percent * raw_rows)


def test_too_many_duplicates_are_told_with_what_to_do() -> None:
    assert duplicates_problem(1000, 30, 0.01) == (
        "30 of 1000 rows repeat a key (3.0%, at most 1.0% may); "
        "look at quarantine, deliver each row once or correct contract.key."
    )


def enough(rows, at_least):  # type: ignore[no-untyped-def]
    assert isinstance(rows, pl.DataFrame)
    return None if rows.height >= at_least else f"there are {rows.height} rows, not {at_least}."


def in_polars(rows: pl.DataFrame) -> str:
    return kind(type(rows))


def lazily(rows: pl.LazyFrame) -> str:
    return kind(type(rows))


def in_pandas(rows: "pd.DataFrame") -> str:
    return kind(type(rows))


def in_pyarrow(rows: pa.Table) -> str:
    return kind(type(rows))


def of_numbers(rows: list[int]) -> None: ...


def fails(rows: pl.DataFrame) -> None:
    raise ZeroDivisionError(f"{rows.height} rows")


def says(rows: pl.DataFrame, word: Any = None) -> Any:
    return rows if word is None else word


def found(function: str, **arguments: Any) -> str | None:
    """What a function of this module finds wrong with the rows."""
    reference = f"{__name__}:{function}"
    return custom_problem(ROWS, Check(name="own", stage="features", function=reference, arguments=arguments))


def test_a_check_of_your_own_says_nothing_or_what_is_wrong() -> None:
    assert found("enough", at_least=2) is None
    assert found("enough", at_least=3) == "there are 2 rows, not 3."


def test_a_check_of_your_own_gets_the_frame_it_is_annotated_with() -> None:
    assert tuple(map(found, ("in_polars", "lazily", "in_pandas", "in_pyarrow"))) == FRAMES


def test_a_check_annotated_with_no_frame_is_refused() -> None:
    with pytest.raises(TypeError, match=r":of_numbers is annotated .*list.*; annotate one of polars\.DataFrame"):
        found("of_numbers")


@settings(deadline=None)
@given(st.text())
def test_any_text_but_an_empty_one_is_a_sentence(text: str) -> None:
    if text.strip():
        assert found("says", word=text) == text
    else:
        with pytest.raises(TypeError, match="returned an empty text; return None"):
            found("says", word=text)


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ({"word": True}, "a value of type bool"),
        ({"word": False}, "a value of type bool"),
        ({"word": 0}, "a value of type int"),
        ({"word": ["a"]}, "a value of type list"),
        ({"word": ""}, "an empty text"),
        ({}, "a value of type DataFrame"),
    ],
)
def test_what_is_no_sentence_is_refused_with_its_function(arguments: Any, given: str) -> None:
    with pytest.raises(TypeError) as refusal:
        found("says", **arguments)
    assert str(refusal.value) == (
        f"{__name__}:says returned {given}; return None if all is well, else a sentence that says what is wrong."
    )


def test_an_error_in_a_check_of_your_own_is_no_verdict() -> None:
    with pytest.raises(ZeroDivisionError, match="2 rows"):
        found("fails")
    with pytest.raises(TypeError, match="at_least"):
        found("enough")
