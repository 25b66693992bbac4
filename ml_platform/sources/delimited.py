"""Text with a delimiter, such as csv, as dataframes of text, and the line of what is wrong in it."""

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import islice

import polars as pl

from ml_platform.sources.text import UnreadableError, decoded

DELIMITERS = ",;\t|"
BLOCK = 1 << 25
"""The bytes that are parsed at once; no row may be longer."""
csv.field_size_limit(BLOCK)


def read_delimited(content: bytes, delimiter: str, missing: Sequence[str]) -> pl.DataFrame:
    """Text in UTF-8 as a dataframe whose columns are text; a header one name short leaves out that of an `index`.

    Raises:
        UnreadableError: rows have more or fewer values than the header, or the file ends in one; with the line.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow

    start = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="replace", newline="")
    header, *rows = islice((row for row in csv.reader(start, delimiter=delimiter) if row), 2)
    names = _names(["index", *header] if rows and len(rows[0]) == len(header) + 1 else header)
    if content.count(b'"') % 2:  # pyarrow takes the rest of the file for a value
        _check_rows(decoded(content), delimiter, len(header), len(names))
    if not rows:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    try:
        table = arrow.read_csv(
            pa.BufferReader(content),
            arrow.ReadOptions(column_names=names, skip_rows_after_names=1, block_size=BLOCK),
            arrow.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            arrow.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=missing,
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        _check_rows(decoded(content), delimiter, len(header), len(names))
        raise UnreadableError(str(error)) from error
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def other_delimiter(columns: Iterable[str], delimiter: str, wanted: Iterable[str]) -> str | None:
    """The delimiter that would find more of the wanted columns in a header that was split by another one."""
    header, missing = delimiter.join(columns), set(wanted).difference(columns)
    for other in DELIMITERS.replace(delimiter, ""):
        if missing.intersection(name.strip('"') for name in header.split(other)):
            return other
    return None


def _names(header: list[str]) -> list[str]:
    """The names of the columns; one without a name is called by its position."""
    names = [name or f"column_{number}" for number, name in enumerate(header, start=1)]
    if len(set(names)) < len(names):
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise UnreadableError(f"line 1 has the column '{twice}' twice; rename one of them")
    return names


def _check_rows(text: str, delimiter: str, header: int, width: int) -> None:
    """Refuse the first row that has not as many values as the others, or that the file ends in."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    whole = text.endswith(("\n", "\r"))
    lines = text.count("\n") + (not whole)
    line = 1
    try:
        next(reader)
        for row in reader:
            line, after = reader.line_num, line + 1
            if len(row) in {0, width}:
                continue
            if line == lines and not whole and len(row) < width:
                raise UnreadableError(
                    f"it ends in the middle of line {after}, after {len(row)} of {width} values; it was cut off, "
                    "deliver it again"
                )
            # one value more in the first row only is a mistake of that row, not a header one name short
            number, found = (2, width) if len(row) == header else (after, len(row))
            raise UnreadableError(f"line {number} has {found} values, the header {header}; mend the row, or quote it")
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise UnreadableError(
                f"the quote that opens in line {line + 1} does not close; it was cut off, deliver it again"
            ) from error
        # else a quote inside a value, which is taken as it stands
