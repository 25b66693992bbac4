"""What each column of raw data is: its type, the format of its dates, how its numbers are written."""

import json
from dataclasses import dataclass
from typing import Literal

import polars as pl

from ml_platform.onboarding.dates import decided, formats_of, has_time
from ml_platform.use_case import ColumnType

READABLE = 0.95
ISO_DAY = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$"
LEADING_ZERO = r"^0\d+$"
BOOLEANS = {"true", "false"}
SIGN = r"([€$£¥%]|EUR|USD|GBP|CHF|kr)?"
DECIMAL_COMMA = rf"^{SIGN}\s?-?\d{{1,3}}(\.?\d{{3}})*(,\d+)?\s?{SIGN}$"
DECIMAL_POINT = rf"^{SIGN}\s?-?\d{{1,3}}(,?\d{{3}})*(\.\d+)?\s?{SIGN}$"
DECIMALS: dict[Literal[",", "."], str] = {",": DECIMAL_COMMA, ".": DECIMAL_POINT}
SURE = ("N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "?")
LONGEST = 12
PERHAPS = (*SURE, "NA", "na", "None", "none", "-", "--", ".", "missing", "unknown")


@dataclass(frozen=True)
class Found:
    """What a column is.

    `format` is that of dates in text; `decimal` says that it has numbers written with signs that the contract does not
    read, such as `1.234,50 EUR`, and which sign stands before the decimals.
    """

    name: str
    type: ColumnType
    format: str | None = None
    decimal: Literal[",", "."] | None = None


def missing_texts(raw: pl.DataFrame) -> list[str]:
    """The texts that mean missing, as they stand: what always does, and what stands between numbers or dates."""
    found: set[str] = set()
    written: set[str] = set()
    for name in raw.columns:
        if raw.schema[name] != pl.String:
            continue
        short = raw[name].filter(raw[name].str.len_chars() <= LONGEST).unique()
        candidates = {text: text.strip() for text in short if text.strip() in {"", *PERHAPS}}
        written.update(candidates)
        there = set(candidates.values())
        found.update(there & {"", *SURE})
        if there - found and _is_no_text(raw[name].str.strip_chars().filter(~raw[name].is_in(list(candidates)))):
            found.update(there)
    return ["", *sorted(text for text in written if text.strip() in found and text)]


def _is_no_text(texts: pl.Series) -> bool:
    filled = texts.drop_nulls()
    return len(filled) > 0 and (_numbers(filled) >= READABLE or _share(filled, ISO_DAY) >= READABLE)


def columns_of(raw: pl.DataFrame, date_format: str | None) -> dict[str, Found]:
    """What each column is; columns of nested values and those without any value are left out.

    Raises:
        UserError: a date can be read in two ways.
    """
    found: dict[str, Found] = {}
    dated: dict[str, list[str]] = {}
    for name in raw.columns:
        filled = raw[name].drop_nulls()
        if filled.dtype in (pl.Categorical, pl.Enum):
            filled = filled.cast(pl.String)
        if filled.is_empty() or filled.dtype.is_nested() or filled.dtype in (pl.Binary, pl.Duration, pl.Object):
            continue
        if filled.dtype != pl.String:
            found[name] = Found(name, _type_of(filled))
            continue
        texts = filled.str.strip_chars()
        found[name] = _of_text(name, texts)
        # eight digits can be a day, and so can any text
        if found[name].type in {"string", "int64"} and (fitting := formats_of(texts)):
            dated[name] = fitting
    for name, form in decided(dated, date_format).items():
        found[name] = Found(name, "datetime" if "%H" in form or "%I" in form else "date", form)
    return found


def _type_of(values: pl.Series) -> ColumnType:
    dtype = values.dtype
    if dtype == pl.Boolean:
        return "boolean"
    if dtype == pl.Date:
        return "date"
    if isinstance(dtype, pl.Datetime):
        return "datetime"
    if dtype.is_numeric():
        whole = dtype.is_integer() or bool((values == values.round()).all())
        return "int64" if whole else "float64"
    return "string"


def _of_text(name: str, texts: pl.Series) -> Found:
    if set(texts.str.to_lowercase().unique().head(3)) <= BOOLEANS:
        return Found(name, "boolean")
    if _numbers(texts) >= READABLE:
        if texts.str.contains(LEADING_ZERO).any():
            return Found(name, "string")  # a code, such as that of a place
        numbers = texts.cast(pl.Float64, strict=False)
        return Found(name, "int64" if (numbers == numbers.round()).drop_nulls().all() else "float64")
    if _share(texts, ISO_DAY) >= READABLE:
        return Found(name, "datetime" if has_time(texts) else "date")
    if texts.n_unique() > len(BOOLEANS):
        for decimal, pattern in DECIMALS.items():
            if _share(texts, pattern) >= READABLE:
                return Found(name, "string", decimal=decimal)
    return Found(name, "string")


def _numbers(texts: pl.Series) -> float:
    numbers = texts.cast(pl.Float64, strict=False)
    return float(numbers.is_finite().sum() or 0) / len(texts)


def _share(texts: pl.Series, pattern: str) -> float:
    return float(texts.str.contains(pattern).sum()) / max(1, len(texts))


def number_written(name: str, decimal: str) -> str:
    """The polars expression, as Python, of the numbers in a column of such text."""
    kept = f'pl.col({json.dumps(name, ensure_ascii=False)}).str.replace_all(r"[^0-9{decimal}-]", "")'
    point = '.str.replace(",", ".")' if decimal == "," else ""
    return f"{kept}{point}.cast(pl.Float64, strict=False)"


def numbers_in(texts: pl.Series, decimal: str) -> pl.Series:
    """The numbers that the expression of `number_written` gives."""
    kept = texts.str.replace_all(f"[^0-9{decimal}-]", "")
    return kept.str.replace(",", ".").cast(pl.Float64, strict=False)


def plain(texts: pl.Series) -> pl.Series:
    """Texts without what people write differently by mistake: case, and spaces around them."""
    return texts.str.strip_chars().str.to_lowercase()


def figure(value: object) -> float:
    """What polars computed of a column, as a number; 0 of no values."""
    return float(value) if isinstance(value, int | float) else 0.0


def unreadable(raw: pl.DataFrame, typed: pl.DataFrame, name: str) -> pl.Series:
    """The values of a column that its type cannot take, as text."""
    lost = raw[name].is_not_null() & typed[name].is_null()
    return raw[name].filter(lost).cast(pl.String, strict=False)
