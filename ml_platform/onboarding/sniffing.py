"""What kind of file the data is in: format, delimiter, encoding, and how missing values are written."""

import csv
import re
from dataclasses import dataclass
from statistics import mode
from typing import Literal

import polars as pl
from upath import UPath

from ml_platform.errors import UserError
from ml_platform.onboarding.columns import missing_texts
from ml_platform.sources.delivery import NotDeliveredError, concatenated
from ml_platform.sources.reading import decompressed, is_compressed, read_file
from ml_platform.sources.stored import find
from ml_platform.sources.text import UnreadableError
from ml_platform.use_case import FilesSource

Format = Literal["csv", "parquet", "jsonl"]
FORMATS: dict[str, Format] = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".data"), "csv"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
}
STARTS: tuple[tuple[bytes, Format], ...] = ((b"PAR1", "parquet"), (b"{", "jsonl"))
REFUSED = {
    b"PK\x03\x04": "is a zip file or an Excel workbook; save the sheet as CSV, or unpack it",
    b"[": "is one JSON array; write one object a line (JSON lines)",
    b"<": "is HTML or XML; save the table as CSV",
}
DELIMITERS = (",", ";", "\t", "|")
LINES = 200
USUAL: list[str] = FilesSource.model_fields["missing"].default
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Sniffed:
    """A source of files, its rows as they are read, and the number of files."""

    source: FilesSource
    rows: pl.DataFrame
    files: int

    def __str__(self) -> str:
        """What was found, for a person."""
        where = self.source.path if self.files == 1 else f"{self.files} files {self.source.path}"
        said = f"{where}: {self.rows.height:,} rows, {self.rows.width} columns, {self.source.format}"
        if self.source.format != "csv":
            return said
        differs = self.source.missing != USUAL
        missing = ", ".join(f"'{one}'" for one in self.source.missing if one and differs)
        said += f" cut by '{self.source.delimiter}', {self.source.encoding}"
        return f"{said}, missing written as {missing}" if missing else said


def sniff(data: str, written: str) -> Sniffed:
    """Look at the files of a path, a folder or a glob, which the YAML file will name as `written`.

    Raises:
        UserError: there is none, it is empty, or it is nothing that the platform reads.
    """
    found = _files(data)
    pattern = _pattern(data, written, found)
    head = _content(found[0])
    kind = _format(found[0], head)
    options: dict[str, str] = {}
    if kind == "csv":
        options["encoding"] = _encoding(head, found[0])
        options["delimiter"] = _delimiter(head.decode(options["encoding"], errors="replace"))
        _header(head.decode(options["encoding"], errors="replace"), options["delimiter"], found[0])
    plain = FilesSource(type="files", path=pattern, format=kind, missing=[""], **options)
    rows = _rows(found, plain)
    if kind != "csv":
        return Sniffed(plain.model_copy(update={"missing": USUAL}), rows, len(found))
    missing = missing_texts(rows)
    shorts = [name for name, dtype in rows.schema.items() if dtype == pl.String]
    usual = {one for one in USUAL if any((rows[name] == one).any() for name in shorts)}
    rows = rows.with_columns(pl.when(~pl.col(name).is_in(missing)).then(pl.col(name)).alias(name) for name in shorts)
    # what is missing by default is said only where the data differs from it
    differs = usual - {""} != set(missing) - {""}
    return Sniffed(plain.model_copy(update={"missing": missing if differs else USUAL}), rows, len(found))


def _files(data: str) -> list[UPath]:
    try:
        found = find(f"{data.rstrip('/')}/*" if UPath(data).is_dir() else data)
    except (OSError, ImportError, ValueError) as error:
        raise UserError(f"--data {data} cannot be read: {error}.") from error
    if not (shown := [one for one in found if not one.name.startswith((".", "_"))]):
        raise UserError(f"--data {data}: there is no such file, and no file in such a folder; check the path.")
    return shown


def _pattern(data: str, written: str, found: list[UPath]) -> str:
    """The path for the YAML file: with `{partition}` where the files are named after days."""
    if len(found) == 1 and not UPath(data).is_dir():
        return written
    endings = {"".join(one.suffixes) for one in found}
    if len(endings) > 1:
        kinds = ", ".join(sorted(endings))
        raise UserError(f"--data {data} has files of several kinds ({kinds}); give a glob such as '{data}/*.csv'.")
    (ending,) = endings
    folder = written.rstrip("/") if UPath(data).is_dir() else written.rpartition("/")[0]
    if all(DAY.fullmatch(one.name.removesuffix(ending)) for one in found):
        return f"{folder}/{{partition}}{ending}"
    return f"{folder}/*{ending}" if UPath(data).is_dir() else written


def _content(path: UPath) -> bytes:
    try:
        content = decompressed(path.read_bytes(), path)
    except (OSError, UnreadableError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    if not content.strip():
        raise UserError(f"{path} is empty; there is nothing to learn from.")
    return content


def _format(path: UPath, content: bytes) -> Format:
    for start, kind in STARTS:
        if content.lstrip().startswith(start):
            return kind
    for start, reason in REFUSED.items():
        if content.lstrip().startswith(start):
            raise UserError(f"{path} {reason}.")
    plain = path.with_suffix("") if is_compressed(path) else path
    return FORMATS.get(plain.suffix, "csv")


def _encoding(content: bytes, path: UPath) -> str:
    """The encoding: what the first bytes say, UTF-8 if all bytes are, or else the likeliest one."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        from charset_normalizer import from_bytes

        # what is no ASCII tells encodings apart; most lines have none of it
        telling = b"\n".join([line for line in content.splitlines() if not line.isascii()][:LINES])
        found = [one for one in from_bytes(telling) if one.encoding != "utf_8"]
        if not found:
            raise UserError(f"{path} is in no encoding that can be told; save it as UTF-8.") from None
        # of several that explain the bytes equally well, the one of western Europe
        best = [one for one in found if (one.chaos, one.coherence) == (found[0].chaos, found[0].coherence)]
        return next((one.encoding for one in best if one.encoding == "cp1252"), best[0].encoding)
    return "utf-8"


def _delimiter(text: str) -> str:
    """The character that cuts the first lines into the same number of fields, and into most."""
    lines = text.splitlines()[:LINES]

    def quality(delimiter: str) -> tuple[float, int]:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        usual = mode(counts)
        return (counts.count(usual) / len(counts) if usual > 1 else 0, usual)

    return max(DELIMITERS, key=quality)


def _header(text: str, delimiter: str, path: UPath) -> None:
    """Refuse a file whose first line is a title: it has not half of the values that most lines have."""
    filled = [sum(map(bool, row)) for row in csv.reader(text.splitlines()[:LINES], delimiter=delimiter)]
    usual = mode(filled)
    if filled[0] <= usual / 2:
        header = next(place for place, count in enumerate(filled, start=1) if count > usual / 2)
        raise UserError(
            f"{path}: line 1 has {filled[0]} of {usual} values, so it is a title and no header; remove what stands "
            f"above line {header}."
        )


def _rows(found: list[UPath], source: FilesSource) -> pl.DataFrame:
    frames = []
    for path in found:
        try:
            frames.append(read_file(path, source))
        except (pl.exceptions.PolarsError, OSError, UnreadableError) as error:
            raise UserError(f"{path} cannot be read as {source.format}: {error}.") from error
    try:
        return concatenated(frames, f"the files {source.path}")
    except NotDeliveredError as error:
        raise UserError(str(error)) from error
