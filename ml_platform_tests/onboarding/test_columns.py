"""What columns of text are told to be, and the texts that mean missing."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_platform.errors import UserError
from ml_platform.onboarding.columns import Found, columns_of, missing_texts, number_written
from ml_platform.onboarding.dates import formats_of


def found(*texts: str | None, date_format: str | None = None) -> Found:
    return columns_of(pl.DataFrame({"x": list(texts)}, schema={"x": pl.String}), date_format)["x"]


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (("1", "2", " 3"), "int64"),
        (("1.00E+05", "7"), "int64"),
        (("1.5", "2", None), "float64"),
        (("00123", "123"), "string"),
        (("true", "False"), "boolean"),
        (("2024-01-31", "2024-02-01"), "date"),
        (("2024-01-31T10:00:00Z", "2024-02-01"), "datetime"),
        (("a", "1", "2"), "string"),
        ((*["1"] * 99, "none of it"), "int64"),
    ],
)
def test_the_type_is_what_nearly_all_texts_are(texts: tuple[str | None, ...], kind: str) -> None:
    assert found(*texts) == Found("x", kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("texts", "form", "kind"),
    [
        (("13/02/2012", "01/02/2012"), "%d/%m/%Y", "date"),
        (("02/13/2012", "01/02/2012"), "%m/%d/%Y", "date"),
        (("13.02.2012 10:30", "01.02.2012 00:00"), "%d.%m.%Y %H:%M", "datetime"),
        (("20120213", "20120301", "20121231"), "%Y%m%d", "date"),
        (("13 Feb 2012", "01 Mar 2012"), "%d %b %Y", "date"),
    ],
)
def test_a_date_that_fits_one_format_only_tells_it(texts: tuple[str, ...], form: str, kind: str) -> None:
    assert found(*texts) == Found("x", kind, form)  # type: ignore[arg-type]


def test_dates_that_can_be_read_in_two_ways_are_asked_about_by_name() -> None:
    with pytest.raises(UserError, match=r"'x' can be read as '%d/%m/%Y' or '%m/%d/%Y': both fit every row"):
        found("01/02/2012", "03/04/2012")
    assert found("01/02/2012", "03/04/2012", date_format="%m/%d/%Y").format == "%m/%d/%Y"


def test_another_column_written_alike_settles_it() -> None:
    raw = pl.DataFrame({"sure": ["13/02/2012", "01/01/2012"], "unsure": ["01/02/2012", "03/04/2012"]})
    assert columns_of(raw, None)["unsure"].format == "%d/%m/%Y"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.dates(date(1950, 1, 1), date(2049, 12, 31)), min_size=5, max_size=30),
    st.sampled_from(["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y/%m/%d", "%d-%b-%Y", "%b %d, %Y"]),
)
def test_one_of_the_formats_found_reads_the_days_that_were_written(days: list[date], form: str) -> None:
    texts = pl.Series([f"{day:{form}}" for day in days])
    assert any(texts.str.to_date(one, strict=False).to_list() == days for one in formats_of(texts))


@pytest.mark.parametrize(
    ("texts", "decimal", "numbers"),
    [
        (("1.234,50", "66,6", "7,0"), ",", [1234.5, 66.6, 7.0]),
        (("$1,234.50", "$6.60", "$-7"), ".", [1234.5, 6.6, -7.0]),
        (("5%", "10%", "12.5%"), ".", [5.0, 10.0, 12.5]),
    ],
)
def test_numbers_with_signs_become_numbers_by_the_written_expression(
    texts: tuple[str, ...], decimal: str, numbers: list[float]
) -> None:
    assert found(*texts).decimal == decimal
    expression = eval(number_written("x", decimal), {"pl": pl})  # noqa: S307 - it is what features.py runs
    assert pl.DataFrame({"x": texts}).select(expression)["x"].to_list() == numbers


def test_codes_of_letters_and_digits_are_no_numbers() -> None:
    assert found("C001", "C002", "C003").decimal is None


def test_a_text_between_numbers_is_missing_and_between_texts_a_value() -> None:
    raw = pl.DataFrame({"number": ["1", "-", "3", "NA "], "country": ["DE", "CH", "FR", "ES"]})
    assert missing_texts(raw) == ["", "-", "NA "]
    assert missing_texts(pl.DataFrame({"country": ["NA", "DE", "-"]})) == [""]
    assert missing_texts(pl.DataFrame({"country": ["NULL", "DE", " "]})) == ["", " ", "NULL"]


def test_columns_without_values_and_nested_ones_are_no_columns() -> None:
    raw = pl.DataFrame({"empty": [None, None], "list": [[1], [2]], "x": [1, 2]})
    assert list(columns_of(raw, None)) == ["x"]
    assert columns_of(pl.DataFrame({"x": [1.0, 2.0]}), None)["x"].type == "int64"
