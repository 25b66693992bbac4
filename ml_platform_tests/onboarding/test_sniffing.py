"""What files are told to be by their content, and what is said of those that are nothing the platform reads."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from ml_platform.errors import UserError
from ml_platform.onboarding.sniffing import Sniffed, sniff

ROWS = [("a", "b"), ("1", "x"), ("2", "y, z"), ("3", "NA")]


def sniffed(path: Path) -> Sniffed:
    return sniff(str(path), path.name)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_that_of_the_lines(tmp_path: Path, delimiter: str) -> None:
    file = tmp_path / "x.csv"
    file.write_text("\n".join(delimiter.join(f'"{one}"' for one in row) for row in ROWS))
    found = sniffed(file)
    assert found.source.delimiter == delimiter
    assert found.rows["b"].to_list() == ["x", "y, z", "NA"]
    assert found.source.missing == [""], "NA stands among texts, so it must not be read as missing"


def test_what_is_missing_by_default_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,x\n2,\nNA,z\n")
    found = sniffed(tmp_path / "x.csv")
    assert "missing" not in found.source.model_dump(exclude_defaults=True)
    assert found.rows["a"].to_list() == ["1", "2", None]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_the_encoding_is_that_of_the_bytes(tmp_path: Path, encoding: str) -> None:
    words = ["Köln", "Zürich", "Genève", "Málaga", "Çeşme" if encoding != "latin-1" else "Åre"]
    (tmp_path / "x.csv").write_bytes(
        "\n".join(["id,city", *(f"{n},{w}" for n, w in enumerate(words))]).encode(encoding)
    )
    assert sniffed(tmp_path / "x.csv").rows["city"].to_list() == words


def test_compressed_files_and_json_lines_and_parquet_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    (tmp_path / "x.txt").write_text('{"a": 1, "b": 2}\n')
    pl.DataFrame({"a": [1], "b": [2]}).write_parquet(tmp_path / "x.data")
    for name, kind in (("x.csv.gz", "csv"), ("x.txt", "jsonl"), ("x.data", "parquet")):
        found = sniffed(tmp_path / name)
        assert found.source.format == kind
        assert found.rows.cast(pl.Int64).row(0) == (1, 2)


@pytest.mark.parametrize("title", ["Sales of 2020\n\n", "Sales of 2020,,,\n,,,\n"])
def test_a_title_above_the_header_is_told(tmp_path: Path, title: str) -> None:
    (tmp_path / "x.csv").write_text(title + "a,b,c,d\n" + "1,2,3,4\n" * 9)
    with pytest.raises(UserError, match=r"line 1 has 1 of 4 values, so it is a title .* stands above line 3"):
        sniffed(tmp_path / "x.csv")


def test_a_folder_is_a_glob_and_files_named_after_days_are_partitions(tmp_path: Path) -> None:
    for folder, names in (("some", ("one", "two")), ("days", ("2024-01-01", "2024-01-02"))):
        (tmp_path / folder).mkdir()
        for number, name in enumerate(names):
            rows = pl.DataFrame({"id": [number if number else f"{number}"]}, strict=False)
            rows.write_parquet(tmp_path / folder / f"{name}.parquet")
    assert sniffed(tmp_path / "some").source.path == "some/*.parquet"
    found = sniffed(tmp_path / "days")
    assert found.source.path == "days/{partition}.parquet"
    assert (found.files, found.rows["id"].to_list()) == (2, ["0", "1"]), "numbers in one file and text in another"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty; there is nothing to learn from"),
        (b"PK\x03\x04xxxx", "is a zip file or an Excel workbook"),
        (b"[{}]", "is one JSON array"),
        (b"<html>", "is HTML or XML"),
        (b"a,b\n1,2\n1,2,3,4\n", "cannot be read as csv: line 3 has 4 values"),
    ],
)
def test_what_is_no_table_is_said_in_a_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        sniffed(tmp_path / "x.csv")


def test_an_address_of_an_object_store_stays_as_it_is() -> None:
    from upath import UPath

    UPath("memory://sniffed/x.csv").write_text("a;b\n1;2\n")
    found = sniff("memory://sniffed/x.csv", "memory://sniffed/x.csv")
    assert (found.source.path, found.source.delimiter, found.rows.row(0)) == ("memory://sniffed/x.csv", ";", ("1", "2"))


def test_no_file_and_a_folder_of_several_kinds_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        sniffed(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    (tmp_path / "y.txt").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"files of several kinds \(.csv, .txt\); give a glob"):
        sniffed(tmp_path)
