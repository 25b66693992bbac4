"""Files as they come from other people's programs: what can be read is, and what cannot is said with its line."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from ml_platform.sources.delimited import other_delimiter, read_delimited
from ml_platform.sources.reading import read_file
from ml_platform.sources.text import UnreadableError
from ml_platform.use_case import FilesSource


def source(kind: str = "csv", **more: Any) -> FilesSource:
    return FilesSource.model_validate({"type": "files", "path": "x", "format": kind, **more})


def read(folder: Path, content: bytes, name: str = "x.csv", **more: Any) -> pl.DataFrame:
    path = folder / name
    path.write_bytes(content)
    return read_file(path, source(**more))


def refused(folder: Path, content: bytes, name: str = "x.csv", **more: Any) -> str:
    with pytest.raises(UnreadableError) as caught:
        read(folder, content, name, **more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "more", "expected"),
    [
        (b'a,b\n1,"x, ""y"""\n', {}, {"a": ["1"], "b": ['x, "y"']}),
        (b'a,b\n1,"two\nlines"\n2,\n', {}, {"a": ["1", "2"], "b": ["two\nlines", None]}),
        (b'a,b\n1,5" pipe\n2,6" pipe\n3,7" pipe\n', {}, {"a": ["1", "2", "3"], "b": ['5" pipe', '6" pipe', '7" pipe']}),
        (b"\xef\xbb\xbfa,b\r\n1,2\r\n\r\n3,4", {}, {"a": ["1", "3"], "b": ["2", "4"]}),
        (b"a;b\n1;2,5\n", {"delimiter": ";"}, {"a": ["1"], "b": ["2,5"]}),
        (b"a\tb\n1\t?\n", {"delimiter": "\t", "missing": ["?"]}, {"a": ["1"], "b": [None]}),
        (b'a,b\nNA,""\n', {"missing": ["-"]}, {"a": ["NA"], "b": [""]}),
        ("a,b\n1,é\n".encode("latin-1"), {"encoding": "latin-1"}, {"a": ["1"], "b": ["é"]}),
        ("a,b\n1,é\n".encode("utf-16"), {"encoding": "utf-16"}, {"a": ["1"], "b": ["é"]}),
        (b"a,b\n0,1,2\n1,3,4\n", {}, {"index": ["0", "1"], "a": ["1", "3"], "b": ["2", "4"]}),
        (b",a,\n0,1,2\n", {}, {"column_1": ["0"], "a": ["1"], "column_3": ["2"]}),
        (b"a,b\n", {}, {"a": [], "b": []}),
        (b'"a\nb",c\n1,2\n', {}, {"a\nb": ["1"], "c": ["2"]}),
    ],
)
def test_delimited_text_is_read_as_its_program_wrote_it(
    tmp_path: Path, content: bytes, more: dict[str, Any], expected: dict[str, list[str | None]]
) -> None:
    assert_frame_equal(
        read(tmp_path, content, **more), pl.DataFrame(expected, schema=dict.fromkeys(expected, pl.String))
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty; deliver it again"),
        (b"a,b\n1,2\n3,4,5\n6,7\n", "line 3 has 3 values, the header 2; mend the row, or quote it"),
        (b"a,b\n1,2,3\n3,4\n6,7\n", "line 2 has 3 values, the header 2; mend the row, or quote it"),
        (b"a,b\n1,2\n3\n6,7\n", "line 3 has 1 values, the header 2; mend the row, or quote it"),
        (b'a,b\n"x\ny",2\n3\n6,7\n', "line 4 has 1 values, the header 2; mend the row, or quote it"),
        (
            b"a,b,c\n1,2,3\n3,4",
            "it ends in the middle of line 3, after 2 of 3 values; it was cut off, ",
        ),
        (b'a,b\n1,2\n3,"4\n5,6\n', "the quote that opens in line 3 does not close; it was cut off, deliver it again"),
        (b"a,b\n1,2\n3,\xff\n", "line 3 has b'\\xff', which is not utf-8; set source.encoding"),
        (b"a,a\n1,2\n", "line 1 has the column 'a' twice; rename one of them"),
    ],
)
def test_what_is_wrong_in_delimited_text_is_said_with_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    assert refused(tmp_path, content).startswith(said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": 1}\n{"a": 2', "line 2 is no JSON: "),
        (b'{"a": 1}\n\n[1]\n', "line 3 is no JSON object; "),
        (b'{"a": "\xff"}\n', "line 1 has b'\\xff', which is not utf-8; "),
    ],
)
def test_what_is_wrong_in_json_lines_is_said_with_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    assert refused(tmp_path, content, kind="jsonl").startswith(said)


def parquet_bytes(folder: Path) -> bytes:
    pl.DataFrame({"a": list(range(1000))}).write_parquet(folder / "whole")
    return (folder / "whole").read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: b"", "the file is empty; deliver it again"),
        (
            lambda _: b"a,b\n1,2\n",
            "it is no Parquet file, it begins with b'a,b\\n'; set source.format",
        ),
        (lambda whole: whole[:-9], "it ends before its footer; it was cut off, deliver it again"),
        (lambda whole: whole[:4] + bytes(len(whole) - 8) + whole[-4:], "it is damaged: "),
    ],
    ids=["empty", "csv", "cut", "damaged"],
)
def test_what_is_no_whole_parquet_file_is_refused(tmp_path: Path, change: Callable[[bytes], bytes], said: str) -> None:
    assert refused(tmp_path, change(parquet_bytes(tmp_path)), kind="parquet").startswith(said)


def test_parquet_from_pandas_has_no_stray_index_and_keeps_dictionaries_and_zones(tmp_path: Path) -> None:
    at = pa.array([datetime(2024, 1, 1)], pa.timestamp("us", "Europe/Berlin"))
    table = pa.table({"city": pa.array(["Bern"]).dictionary_encode(), "at": at, "__index_level_0__": [7]})
    pq.write_table(table, tmp_path / "x.parquet")
    rows = read_file(tmp_path / "x.parquet", source("parquet"))
    assert rows.columns == ["city", "at"]
    assert rows["city"].cast(pl.String).to_list() == ["Bern"]
    assert rows["at"].dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_list() == [datetime(2024, 1, 1)]


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zst", lambda content: pa.compress(content, codec="zstd", asbytes=True)),
    ],
)
def test_a_compressed_file_is_known_by_its_suffix(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    compressed = compress(b"a,b\n1,2\n" * 100)
    assert read(tmp_path, compressed, f"x.csv{suffix}").height == 199
    for broken in (compressed[:-9], b"no " + compressed):
        assert refused(tmp_path, broken, f"x.csv{suffix}").startswith(f"it cannot be decompressed as {suffix}: ")


@pytest.mark.parametrize(
    ("columns", "found"), [(["a;b"], ";"), (['a\t"b"'], "\t"), (["index", "a;b"], ";"), (["x", "y"], None)]
)
def test_the_delimiter_that_finds_the_wanted_columns_is_told(columns: list[str], found: str | None) -> None:
    assert other_delimiter(columns, ",", ["a", "b"]) == found


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=8)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8), st.sampled_from(",;\t|"))
def test_what_polars_writes_is_read_as_it_was(values: list[tuple[str, str]], delimiter: str) -> None:
    rows = pl.DataFrame(values, schema={"a": pl.String, "b": pl.String}, orient="row")
    written = rows.write_csv(separator=delimiter, quote_style="always").encode()
    assert_frame_equal(read_delimited(written, delimiter, []), rows)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("delimiter", ";;", "';;' is no delimiter; write one character, such as ';' or \"\\t\"."),
        ("delimiter", "\n", "'\\n' is no delimiter; "),
        ("encoding", "utf-9", "there is no encoding 'utf-9'; write one that Python knows, such as 'latin-1'."),
        ("encoding", "hex", "there is no encoding 'hex'; "),
    ],
)
def test_how_text_is_written_is_checked(field: str, value: str, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        source(**{field: value})
    (error,) = caught.value.errors()
    assert error["loc"] == (field,)
    assert error["msg"].startswith(f"Value error, {said}")
