"""The contract: no value is lost in coercion, and each row is valid or quarantined, whatever other days are there."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, get_args

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ml_platform.ml.contract import DTYPES, PARTITION, RESCUED, VIOLATIONS, coerce, missing_columns, partition_of, split
from ml_platform.use_case import Cadence, ColumnType, Contract

Violation = tuple[str, str, str | None]

DAY = date(2024, 1, 1)
NOON = datetime(2024, 1, 1, 12)
TYPES: tuple[ColumnType, ...] = get_args(ColumnType)


def one_column(kind: ColumnType, **rules: Any) -> Contract:
    return contract(value={"type": kind, **rules})


def contract(key: Sequence[str] = ("id",), event_time: str | None = None, **columns: Any) -> Contract:
    return Contract.model_validate(
        {"key": list(key), "event_time": event_time, "columns": {"id": {"type": "int64"}, **columns}}
    )


def values(values: Sequence[Any], dtype: Any = None) -> pl.DataFrame:
    return pl.DataFrame({"id": range(len(values)), "value": pl.Series(values, dtype=dtype, strict=False)})


def outcome(frame: pl.DataFrame, kind: ColumnType) -> list[Any]:
    """Each value as it was typed, or `{"rescued": text}` where it did not fit."""
    coerced = coerce(frame, one_column(kind))
    assert coerced.schema["value"] == DTYPES[kind]
    assert coerced.columns == ["id", "value", RESCUED]
    texts = [json.loads(text)["value"] if text else None for text in coerced[RESCUED]]
    typed = coerced["value"].to_list()
    assert all(value is None for value, text in zip(typed, texts, strict=True) if text is not None)
    return [value if text is None else rescued(text) for value, text in zip(typed, texts, strict=True)]


def rescued(text: str) -> dict[str, str]:
    return {"rescued": text}


def judged(rows: pl.DataFrame, kept: Contract, every: Cadence | None = None) -> list[list[Violation]]:
    """The violations of each row, in the order of `id`: none for a valid row."""
    valid, quarantined = split(rows, kept, every)
    found: dict[int, list[Violation]] = {key: [] for key in valid["id"]}
    for row in quarantined.select("id", VIOLATIONS).iter_rows(named=True):
        found[row["id"]] = [(one["column"], one["rule"], one["value"]) for one in row[VIOLATIONS]]
    assert len(found) == rows.height == valid.height + quarantined.height
    return [found[index] for index in sorted(found)]


def judged_values(given: Sequence[Any], kind: ColumnType, **rules: Any) -> list[list[tuple[str, str | None]]]:
    """The rules that each value breaks, with the value as it is told."""
    kept = one_column(kind, **rules)
    return [[(rule, value) for _, rule, value in one] for one in judged(coerce(values(given), kept), kept)]


# coercion


@pytest.mark.parametrize(
    ("frame", "kind", "expected"),
    [
        pytest.param(values([1, None, 2**53 + 1]), "int64", [1, None, 2**53 + 1], id="int"),
        pytest.param(values([7, 255], pl.UInt8), "int64", [7, 255], id="small int"),
        pytest.param(values([2**63, 5], pl.UInt64), "int64", [rescued(str(2**63)), 5], id="int too large"),
        pytest.param(
            values([1.0, 1.5, None, float("inf"), 1e300, 2.0**63, -(2.0**63)]),
            "int64",
            [1, rescued("1.5"), None, rescued("inf"), rescued("1e+300"), rescued("9.223372036854776e+18"), -(2**63)],
            id="float to int",
        ),
        pytest.param(
            values(
                ["7", " 7 ", "7.0", "1e3", "9007199254740993", "-0", "7.5", "1,5", "0x10", "1_000", "", "inf", None]
            ),
            "int64",
            [7, 7, 7, 1000, 2**53 + 1, 0, *map(rescued, ["7.5", "1,5", "0x10", "1_000", "", "inf"]), None],
            id="text to int",
        ),
        pytest.param(values([1, None, -3]), "float64", [1.0, None, -3.0], id="int to float"),
        pytest.param(values([Decimal("1.25")]), "float64", [1.25], id="decimal to float"),
        pytest.param(values([True, False, None]), "float64", [1.0, 0.0, None], id="bool to float"),
        pytest.param(
            values([" 1.5 ", "1e300", "-.5", "1,5", "", "x"]),
            "float64",
            [1.5, 1e300, -0.5, *map(rescued, ["1,5", "", "x"])],
            id="text to float",
        ),
        pytest.param(values([1, None]), "string", ["1", None], id="int to text"),
        pytest.param(values([True, None]), "string", ["true", None], id="bool to text"),
        pytest.param(values([DAY]), "string", ["2024-01-01"], id="date to text"),
        pytest.param(values([" a ", ""]), "string", [" a ", ""], id="text stays as it is"),
        pytest.param(values(["a", None], pl.Categorical), "string", ["a", None], id="category to text"),
        pytest.param(
            values(["true", "True", " FALSE ", "1", "0", "yes", "2", None]),
            "boolean",
            [True, True, False, True, False, rescued("yes"), rescued("2"), None],
            id="text to bool",
        ),
        pytest.param(values([1, 0, 2, None]), "boolean", [True, False, rescued("2"), None], id="int to bool"),
        pytest.param(values([NOON, None], pl.Datetime("ns")), "datetime", [NOON, None], id="ns"),
        pytest.param(values([NOON, None], pl.Datetime("ms")), "datetime", [NOON, None], id="ms"),
        pytest.param(values([DAY]), "datetime", [datetime(2024, 1, 1)], id="date to datetime"),
        pytest.param(
            values([NOON.replace(tzinfo=timezone(timedelta(hours=-5)))], pl.Datetime("us", "America/New_York")),
            "datetime",
            [datetime(2024, 1, 1, 17)],
            id="time zone to UTC",
        ),
        pytest.param(
            values(["2024-01-01 12:00:00", "2024-01-01T12:00:00.5", "2024-01-01", "soon", "2024-02-30"]),
            "datetime",
            [NOON, NOON.replace(microsecond=500_000), datetime(2024, 1, 1), rescued("soon"), rescued("2024-02-30")],
            id="text to datetime",
        ),
        pytest.param(
            values(["soon", "2024-01-01"]), "datetime", [rescued("soon"), datetime(2024, 1, 1)], id="dirt first"
        ),
        pytest.param(values([1_704_067_200]), "datetime", [rescued("1704067200")], id="a number is no datetime"),
        pytest.param(values([NOON]), "date", [DAY], id="datetime to date"),
        pytest.param(
            values(["2024-01-01", "9999-12-31", "0001-01-01", "2024-02-30", "20240-01-01", "x"]),
            "date",
            [DAY, date.max, date.min, *map(rescued, ["2024-02-30", "20240-01-01", "x"])],
            id="text to date",
        ),
        pytest.param(values([3]), "date", [rescued("3")], id="a number is no date"),
    ],
)
def test_a_value_is_typed_or_rescued(frame: pl.DataFrame, kind: ColumnType, expected: list[Any]) -> None:
    assert outcome(frame, kind) == expected


@pytest.mark.parametrize("kind", TYPES)
def test_what_has_the_declared_type_stays_as_it_is(kind: ColumnType) -> None:
    samples = {
        "int64": [2**63 - 1, -(2**63), None],
        "float64": [0.1, 5e-324, float("inf"), None],
        "string": ["", "NaN", " a\n", None],
        "boolean": [True, False, None],
        "datetime": [datetime(9999, 12, 31), datetime(1, 1, 1), None],
        "date": [date.max, date.min, None],
    }
    assert outcome(values(samples[kind], DTYPES[kind]), kind) == samples[kind]


@pytest.mark.parametrize(
    ("given", "kind", "expected"),
    [
        ([1, None], "int64", [1, None]),
        ([1.5, None], "float64", [1.5, None]),
        (["a", None], "string", ["a", None]),
        ([True, None], "boolean", [True, None]),
        ([NOON, None], "datetime", [NOON, None]),
        ([NOON.replace(tzinfo=UTC), None], "datetime", [NOON, None]),
        ([DAY, None], "date", [DAY, None]),
    ],
)
def test_a_pandas_column_with_a_missing_value_is_typed(given: list[Any], kind: ColumnType, expected: list[Any]) -> None:
    import pandas as pd

    frame = pl.from_pandas(pd.DataFrame({"id": [0, 1], "value": given}))
    assert outcome(frame, kind) == expected


INTEGERS = st.integers(-(2**63), 2**63 - 1)
SOURCES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (pl.Int64(), INTEGERS),
    (pl.Int16(), st.integers(-(2**15), 2**15 - 1)),
    (pl.UInt64(), st.integers(0, 2**64 - 1)),
    (pl.Float64(), st.floats(allow_nan=False)),
    (pl.Float32(), st.floats(allow_nan=False, width=32)),
    (pl.String(), st.text() | INTEGERS.map(str) | st.floats().map(str) | st.dates().map(str) | st.datetimes().map(str)),
]


@st.composite
def columns(draw: st.DrawFn) -> pl.DataFrame:
    dtype, elements = draw(st.sampled_from(SOURCES))
    return values(draw(st.lists(st.none() | elements, max_size=6)), dtype)


@settings(deadline=None)
@given(columns(), st.sampled_from(TYPES))
def test_no_value_is_lost(frame: pl.DataFrame, kind: ColumnType) -> None:
    for original, found in zip(frame["value"].cast(pl.String), outcome(frame, kind), strict=True):
        assert (found is None) == (original is None)
        if isinstance(found, dict):
            assert found == rescued(original)


@settings(deadline=None)
@given(columns(), st.sampled_from(TYPES))
def test_coercing_again_changes_nothing(frame: pl.DataFrame, kind: ColumnType) -> None:
    once = coerce(frame, one_column(kind))
    twice = coerce(once, one_column(kind))
    assert twice[RESCUED].is_null().all()
    assert_frame_equal(twice.drop(RESCUED), once.drop(RESCUED))


@settings(deadline=None)
@given(st.lists(INTEGERS, min_size=1))
def test_an_integer_is_the_same_after_a_way_through_text(integers: list[int]) -> None:
    assert outcome(values([str(integer) for integer in integers]), "int64") == integers


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_a_number_is_the_same_after_a_way_through_text(floats: list[float]) -> None:
    assert outcome(values([repr(number) for number in floats]), "float64") == floats


def test_the_values_that_did_not_fit_are_kept_by_column() -> None:
    kept = contract(a={"type": "int64"}, b={"type": "float64"})
    frame = pl.DataFrame({"id": [1, 2, 3], "a": ["1", 'x"y', "3"], "b": ["z", "é\n", "3"], "other": [1, 2, 3]})
    coerced = coerce(frame, kept)
    assert [json.loads(text) if text else None for text in coerced[RESCUED]] == [
        {"a": None, "b": "z"},
        {"a": 'x"y', "b": "é\n"},
        None,
    ]
    assert coerced.columns == ["id", "a", "b", RESCUED]


def test_columns_that_are_not_there_are_named_in_the_order_of_the_contract() -> None:
    kept = contract(b={"type": "int64"}, a={"type": "int64"})
    assert missing_columns(pl.DataFrame({"id": [1], "c": [2]}), kept) == ["b", "a"]
    assert missing_columns(pl.DataFrame({"id": [1], "a": [2], "b": [3]}), kept) == []


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        pytest.param(values([True, False, None]), [1, 0, None], id="bool"),
        pytest.param(values([None, None]), [None, None], id="nothing but missing values"),
        pytest.param(values([DAY]), [rescued("2024-01-01")], id="date"),
        pytest.param(values([NOON]), [rescued("2024-01-01 12:00:00.000000")], id="datetime"),
        pytest.param(values([time(12)]), [rescued("12:00:00")], id="time"),
        pytest.param(values(["7", "x"], pl.Categorical), [7, rescued("x")], id="category"),
    ],
)
def test_an_integer_may_come_from_any_type(frame: pl.DataFrame, expected: list[Any]) -> None:
    assert outcome(frame, "int64") == expected


def test_a_decimal_with_a_fraction_is_no_integer() -> None:
    assert outcome(values([Decimal("1.5"), Decimal("2.0")]), "int64") == [rescued("1.5"), 2]


def test_a_large_integer_written_with_a_fraction_is_exact() -> None:
    assert outcome(values(["9007199254740993.0"]), "int64") == [2**53 + 1]


def test_a_category_that_looks_like_a_number_is_one() -> None:
    assert outcome(values(["1.5"], pl.Categorical), "float64") == [1.5]


def test_a_datetime_is_no_number() -> None:
    assert outcome(values([NOON]), "float64") == [rescued("2024-01-01 12:00:00.000000")]


def test_a_nan_means_the_same_in_every_type() -> None:
    single, double = (outcome(values([float("nan")], dtype), "float64") for dtype in (pl.Float32(), pl.Float64()))
    assert single == double


def test_a_boolean_may_come_as_a_float() -> None:
    assert outcome(values([1.0, 0.0, None]), "boolean") == [True, False, None]


@pytest.mark.parametrize("text", ["2024-01-01T12:00:00Z", "2024-01-01T13:00:00+01:00"])
def test_text_with_a_time_zone_is_a_datetime_in_utc(text: str) -> None:
    assert outcome(values([text]), "datetime") == [NOON]


@pytest.mark.parametrize(
    ("first", "kind"), [("2024-01-01T12:00:00Z", "datetime"), ("31/12/2023", "datetime"), ("31/12/2023", "date")]
)
def test_how_a_text_is_read_does_not_depend_on_the_rows_before(first: str, kind: ColumnType) -> None:
    (alone,) = outcome(values(["2024-01-01"]), kind)
    assert outcome(values([first, "2024-01-01"]), kind)[1] == alone


@pytest.mark.parametrize(
    ("kind", "form", "texts", "expected"),
    [
        (
            "datetime",
            "%d/%m/%Y %H:%M",
            ["31/12/2024 23:59", " 01/02/2024 00:00 "],
            [datetime(2024, 12, 31, 23, 59), datetime(2024, 2, 1)],
        ),
        ("datetime", "%d.%m.%y", ["31.12.24"], [datetime(2024, 12, 31)]),
        ("datetime", "%Y-%m-%d %H:%M %z", ["2024-01-01 00:30 +0100"], [datetime(2023, 12, 31, 23, 30)]),
        ("date", "%d %b %Y", ["05 Mar 2024"], [date(2024, 3, 5)]),
        ("date", "%d/%m/%Y %H:%M", ["05/03/2024 12:00"], [date(2024, 3, 5)]),
    ],
)
def test_a_format_says_how_text_is_read(kind: ColumnType, form: str, texts: list[str], expected: list[Any]) -> None:
    coerced = coerce(values([*texts, "2024-01-01", "soon", None]), one_column(kind, format=form))
    assert coerced["value"].to_list() == [*expected, None, None, None]
    assert coerced[RESCUED].to_list()[len(texts) :] == ['{"value":"2024-01-01"}', '{"value":"soon"}', None]


def test_a_format_is_about_text_only() -> None:
    assert coerce(values([NOON]), one_column("datetime", format="%d/%m/%Y"))["value"].to_list() == [NOON]


def test_a_contract_may_have_one_column_alone() -> None:
    kept = Contract.model_validate({"key": ["at"], "columns": {"at": {"type": "datetime"}}})
    assert coerce(pl.DataFrame({"at": [1, 2]}), kept)[RESCUED].to_list() == ['{"at":"1"}', '{"at":"2"}']


@pytest.mark.parametrize(
    ("given", "kind"), [([[1, 2]], "int64"), ([b"\xff"], "string"), ([timedelta(1)], "datetime")], ids=repr
)
def test_a_value_of_a_type_that_no_column_has_is_rescued(given: list[Any], kind: ColumnType) -> None:
    (found,) = outcome(values(given), kind)
    assert isinstance(found, dict)


# the split


@pytest.mark.parametrize(
    ("given", "kind", "rules", "expected"),
    [
        (["7", "x", None], "int64", {}, [[], [("type", "x")], []]),
        (["7", "x", None], "int64", {"nullable": False}, [[], [("type", "x")], [("nullable", None)]]),
        ([4, 5, 6, None], "int64", {"min": 5}, [[("min", "4")], [], [], []]),
        ([4, 5, 6, None], "int64", {"max": 5}, [[], [], [("max", "6")], []]),
        ([0.1, 0.3], "float64", {"min": 0.2, "max": 0.25}, [[("min", "0.1")], [("max", "0.3")]]),
        ([1.0, float("inf"), float("-inf")], "float64", {}, [[], [("finite", "inf")], [("finite", "-inf")]]),
        ([0, 1, 2, None], "int64", {"one_of": [0, 1]}, [[], [], [("one_of", "2")], []]),
        (["a", "b", None], "string", {"one_of": ["a"]}, [[], [("one_of", "b")], []]),
        ([True, False], "boolean", {"one_of": [True]}, [[], [("one_of", "false")]]),
        ([1.0, 2.0], "float64", {"one_of": [1]}, [[], [("one_of", "2.0")]]),
        (
            ["a1", "ba1", "a1\n", "A1", ""],
            "string",
            {"matches": r"a\d"},
            [[], *([("matches", text)] for text in ("ba1", "a1\n", "A1", ""))],
        ),
        (["a", "b", "ab"], "string", {"matches": "a|b"}, [[], [], [("matches", "ab")]]),
        (
            [date(2023, 12, 31), DAY, date(2024, 1, 2)],
            "date",
            {"min": DAY, "max": DAY},
            [[("min", "2023-12-31")], [], [("max", "2024-01-02")]],
        ),
        (
            [datetime(2023, 12, 31, 23, 59), datetime(2024, 1, 1), NOON],
            "datetime",
            {"min": DAY, "max": DAY},
            [[("min", "2023-12-31 23:59:00.000000")], [], [("max", "2024-01-01 12:00:00.000000")]],
        ),
        ([9], "int64", {"max": 5, "one_of": [1]}, [[("max", "9"), ("one_of", "9")]]),
    ],
)
def test_a_value_that_breaks_a_rule_is_told_with_it(
    given: list[Any], kind: ColumnType, rules: dict[str, Any], expected: list[Any]
) -> None:
    assert judged_values(given, kind, **rules) == expected


def test_the_first_row_of_a_key_stays_valid() -> None:
    kept = contract(key=["id", "shop"], shop={"type": "string"}, at={"type": "int64"})
    rows = coerce(pl.DataFrame({"id": [1, 1, 2, 1], "shop": ["a", "b", "a", "a"], "at": [0, 1, 2, 3]}), kept)
    valid, quarantined = split(rows, kept, None)
    assert valid["at"].to_list() == [0, 1, 2]
    assert quarantined[VIOLATIONS].to_list() == [[{"column": "id", "rule": "unique", "value": "1"}]]


def test_a_key_without_a_value_is_missing_and_repeats_none() -> None:
    kept = contract(key=["code"], code={"type": "string"})
    rows = coerce(pl.DataFrame({"id": [0, 1, 2], "code": [None, None, "a"]}), kept)
    assert judged(rows, kept) == [[("code", "nullable", None)], [("code", "nullable", None)], []]


def dated(times: Sequence[Any], partitions: Sequence[date]) -> tuple[pl.DataFrame, Contract]:
    kept = contract(event_time="at", at={"type": "datetime"})
    rows = coerce(pl.DataFrame({"id": range(len(times)), "at": times}), kept)
    return rows.with_columns(pl.Series(PARTITION, partitions)), kept


def test_a_row_outside_its_partition_is_told_so() -> None:
    rows, kept = dated(["2024-01-01 23:59:59", "2024-01-02", None, "soon"], [DAY] * 4)
    assert judged(rows, kept, "day") == [
        [],
        [("at", "partition", "2024-01-02 00:00:00.000000")],
        [("at", "nullable", None)],
        [("at", "type", "soon")],
    ]


@pytest.mark.parametrize(
    ("every", "first_day"), [("day", date(2024, 2, 15)), ("week", date(2024, 2, 12)), ("month", date(2024, 2, 1))]
)
def test_a_partition_begins_on_its_first_day(every: Cadence, first_day: date) -> None:
    rows, kept = dated(["2024-02-15 12:00:00"], [first_day])
    assert rows.select(partition_of("at", every)).item() == first_day
    assert judged(rows, kept, every) == [[]]


def test_a_key_may_come_again_in_another_partition() -> None:
    kept = contract(key=["code"], event_time="at", code={"type": "string"}, at={"type": "datetime"})
    rows = coerce(pl.DataFrame({"id": [0, 1, 2], "code": ["a"] * 3, "at": [NOON, NOON, NOON + timedelta(1)]}), kept)
    rows = rows.with_columns(partition_of("at", "day"))
    assert judged(rows, kept, "day") == [[], [("code", "unique", "a")], []]


def test_a_row_has_the_columns_of_the_contract_and_what_it_breaks() -> None:
    rows, kept = dated(["soon", NOON.isoformat()], [DAY] * 2)
    valid, quarantined = split(rows, kept, "day")
    assert valid.columns == ["id", "at", PARTITION]
    assert quarantined.columns == ["id", "at", RESCUED, PARTITION, VIOLATIONS]
    assert_frame_equal(quarantined.drop(VIOLATIONS), rows.head(1))


def test_a_table_without_rows_has_none_to_quarantine() -> None:
    rows, kept = dated([], [])
    valid, quarantined = split(rows.clear(), kept, "day")
    assert (valid.height, quarantined.height) == (0, 0)
    assert quarantined.schema[VIOLATIONS] == pl.List(
        pl.Struct({"column": pl.String(), "rule": pl.String(), "value": pl.String()})
    )


NAMES = ["a b", "a.b", "a'b", "a]b", "a[0]", "$", "@", "..", "ü", "日本", "select", "null", "", " ", "0", "a\nb"]


def table_with_a_column(name: str) -> tuple[pl.DataFrame, Contract]:
    kept = contract(**{name: {"type": "int64", "nullable": False, "max": 10}})
    return coerce(pl.DataFrame({"id": [0, 1, 2, 3], name: ["7", 'x"y', None, "11"]}), kept), kept


@pytest.mark.parametrize("name", NAMES)
def test_a_column_may_have_any_name(name: str) -> None:
    rows, kept = table_with_a_column(name)
    assert judged(rows, kept) == [[], [(name, "type", 'x"y')], [(name, "nullable", None)], [(name, "max", "11")]]


def test_a_column_may_have_the_name_of_a_broken_rule() -> None:
    rows, kept = table_with_a_column("broken_0")
    assert judged(rows, kept)[1:3] == [[("broken_0", "type", 'x"y')], [("broken_0", "nullable", None)]]


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1))
def test_a_value_is_told_as_it_was_given(text: str) -> None:
    (found,) = judged_values([f"no number: {text}"], "float64")
    assert found == [("type", f"no number: {text}")]


@pytest.mark.parametrize("moment", [2**62, -(2**62), 253_402_300_800_000_000])
def test_a_date_that_no_calendar_has_is_quarantined(moment: int) -> None:
    rows, kept = dated(pl.Series([moment]).cast(pl.Datetime("us")), [DAY])
    (found,) = judged(rows, kept, "day")
    assert [column for column, _, _ in found] == ["at"]


@pytest.mark.parametrize(
    "given", [pl.Series([2**62]).cast(pl.Datetime("ms")), pl.Series([2**63 - 1]).cast(pl.Datetime("us"))]
)
def test_a_moment_out_of_range_is_quarantined(given: pl.Series) -> None:
    rows, kept = dated(given, [DAY])
    assert len(judged(rows, kept, "day")[0]) == 1


@pytest.mark.parametrize(("rule", "bound"), [("min", 2**53 + 1), ("max", 2**53)])
def test_a_bound_of_a_large_integer_is_exact(rule: str, bound: int) -> None:
    large = [2**53, 2**53 + 1]
    kept = one_column("int64", **{rule: bound})
    valid, _ = split(coerce(values(large), kept), kept, None)
    assert valid["value"].to_list() == [
        value for value in large if (value >= bound if rule == "min" else value <= bound)
    ]


def test_the_choices_of_a_float_may_be_whole() -> None:
    assert judged_values([1.0, 1.5, 2.0], "float64", one_of=[1, 1.5]) == [[], [], [("one_of", "2.0")]]


# whole tables

TABLE = contract(
    key=["code"],
    event_time="at",
    code={"type": "int64"},
    at={"type": "datetime"},
    amount={"type": "float64", "nullable": False, "min": 0, "max": 100},
    city={"type": "string", "matches": "[a-z]+", "one_of": ["ghent", "liège", "Mons"]},
)
DIRTY_ROWS = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "3.0", "x", None]),
        st.sampled_from(["2024-01-01 10:00:00", "2024-01-02 00:00:00", "2024-01-03 23:00:00", "soon", None]),
        st.sampled_from(["0", "100", "101", "-1", "inf", "nan", "x", None]),
        st.sampled_from(["ghent", "liège", "Mons", "paris", "", None]),
        st.sampled_from([date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)]),
    ),
    max_size=12,
)
DirtyRow = tuple[str | None, str | None, str | None, str | None, date]


def dirty(rows: Sequence[DirtyRow]) -> pl.DataFrame:
    names = ["code", "at", "amount", "city", PARTITION]
    schema = dict.fromkeys(names[:-1], pl.String()) | {PARTITION: pl.Date()}
    raw = pl.DataFrame(rows, schema=schema, orient="row").with_row_index("id")
    return coerce(raw, TABLE).with_columns(raw[PARTITION])


def broken_by(row: DirtyRow, earlier: Sequence[DirtyRow]) -> set[tuple[str, str]]:
    """The rules a dirty row breaks, in plain Python."""
    code, at, amount, city, partition = row
    number = float(amount) if amount not in {None, "x"} else None
    broken = {
        ("code", "type"): code == "x",
        ("code", "nullable"): code is None,
        ("code", "unique"): code not in {None, "x"} and any((one[0], one[4]) == (code, partition) for one in earlier),
        ("at", "type"): at == "soon",
        ("at", "nullable"): at is None,
        ("at", "partition"): at not in {None, "soon"} and not str(at).startswith(str(partition)),
        ("amount", "type"): amount in {"x", "nan"},
        ("amount", "nullable"): amount is None,
        ("amount", "finite"): amount == "inf",
        ("amount", "min"): number is not None and number < 0,
        ("amount", "max"): number is not None and number > 100,
        ("city", "matches"): city is not None and not re.fullmatch("[a-z]+", city),
        ("city", "one_of"): city not in {"ghent", "liège", "Mons", None},
    }
    return {rule for rule, is_broken in broken.items() if is_broken}


@settings(deadline=None)
@given(DIRTY_ROWS)
@example([("1", "2024-01-01 10:00:00", "0", "ghent", DAY)] * 3)
def test_each_row_of_a_dirty_table_is_once_in_one_of_the_two_with_all_it_breaks(rows: list[DirtyRow]) -> None:
    valid, quarantined = split(dirty(rows), TABLE, "day")
    assert sorted([*valid["id"], *quarantined["id"]]) == list(range(len(rows)))
    told = {
        row["id"]: {(one["column"], one["rule"]) for one in row[VIOLATIONS]}
        for row in quarantined.iter_rows(named=True)
    }
    expected = {index: broken_by(row, rows[:index]) for index, row in enumerate(rows)}
    assert told == {index: broken for index, broken in expected.items() if broken}


@settings(deadline=None)
@given(DIRTY_ROWS)
def test_a_partition_is_judged_the_same_whatever_other_partitions_are_there(rows: list[DirtyRow]) -> None:
    table = dirty(rows)
    together = split(table, TABLE, "day")
    for day in table[PARTITION].unique():
        alone = split(table.filter(pl.col(PARTITION) == day), TABLE, "day")
        for of_all, of_one in zip(together, alone, strict=True):
            assert_frame_equal(of_all.filter(pl.col(PARTITION) == day), of_one)
