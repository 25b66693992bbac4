"""Files of a source as dataframes: decompressed, decoded and parsed, with the line of what is wrong in them."""

import bz2
import gzip
import io
import json
import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import polars as pl
from upath import UPath

from ml_platform.sources.delimited import read_delimited
from ml_platform.sources.text import UnreadableError, as_utf8, decoded
from ml_platform.use_case import FilesSource

PANDAS_INDEX = re.compile(r"__index_level_\d+__")
PARQUET = b"PAR1"


def read_file(path: str | Path | UPath, source: FilesSource) -> pl.DataFrame:
    """A file of the source's format as a dataframe; the columns of a csv file are text, for the contract to coerce.

    Raises:
        UnreadableError: its content is none of the format; the sentence has the line where there is one.
        OSError: it cannot be read at all.
    """
    return parse(UPath(path).read_bytes(), UPath(path), source)


def parse(content: bytes, path: UPath, source: FilesSource) -> pl.DataFrame:
    """The content of a file as a dataframe; its path tells how it is compressed.

    Raises:
        UnreadableError: it is none of the source's format; the sentence has the line where there is one.
    """
    content = decompressed(content, path)
    if not content.strip():
        raise UnreadableError("the file is empty; deliver it again")
    match source.format:
        case "parquet":
            return collected(parquet(content))
        case "csv":
            return read_delimited(as_utf8(content, source.encoding), source.delimiter, source.missing)
        case "jsonl":
            return _jsonl(as_utf8(content, source.encoding))


def parquet(content: bytes | str) -> pl.LazyFrame:
    """The content or the path of a Parquet file as a lazy frame, without the index that pandas may have left in it.

    Raises:
        UnreadableError: it is no Parquet file, or not a whole one.
    """
    if isinstance(content, bytes):
        _check_is_parquet(content[:4], content[-4:])
    else:
        with Path(content).open("rb") as file:
            head, size = file.read(4), file.seek(0, io.SEEK_END)
            file.seek(max(0, size - 4))
            _check_is_parquet(head, file.read())
    try:
        rows = pl.scan_parquet(io.BytesIO(content) if isinstance(content, bytes) else content, glob=False)
        return rows.drop(name for name in rows.collect_schema().names() if PANDAS_INDEX.fullmatch(name))
    except pl.exceptions.PolarsError as error:
        raise UnreadableError(f"it is damaged: {error}") from error


def collected(rows: pl.LazyFrame) -> pl.DataFrame:
    """The rows of a lazy frame over a Parquet file.

    Raises:
        UnreadableError: the file is damaged.
    """
    try:
        return rows.collect()
    except pl.exceptions.PolarsError as error:
        raise UnreadableError(f"it is damaged: {error}") from error


def _check_is_parquet(head: bytes, tail: bytes) -> None:
    if not head:
        raise UnreadableError("the file is empty; deliver it again")
    if head != PARQUET:
        raise UnreadableError(f"it is no Parquet file, it begins with {head!r}; set source.format, or deliver Parquet")
    if tail != PARQUET:
        raise UnreadableError("it ends before its footer; it was cut off, deliver it again")


def is_compressed(path: UPath) -> bool:
    """Whether a file's name says that it must be decompressed."""
    return path.suffix in DECOMPRESS


def _zstd(compressed: bytes) -> bytes:
    import pyarrow as pa

    content: bytes = pa.CompressedInputStream(pa.BufferReader(compressed), "zstd").read()
    return content


DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".zst": _zstd,
}


def decompressed(content: bytes, path: UPath) -> bytes:
    """The content of a file, decompressed as its name says.

    Raises:
        UnreadableError: it is not compressed like that.
    """
    if not content or not is_compressed(path):
        return content
    try:
        return DECOMPRESS[path.suffix](content)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        problem = str(error).rstrip(".")
        raise UnreadableError(f"it cannot be decompressed as {path.suffix}: {problem}; deliver it again") from error


def _jsonl(content: bytes) -> pl.DataFrame:
    try:
        return pl.read_ndjson(content, infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        for number, line in enumerate(decoded(content).splitlines(), start=1):
            try:
                value = json.loads(line) if line.strip() else {}
            except ValueError as problem:
                raise UnreadableError(f"line {number} is no JSON: {problem}; mend it, or deliver it again") from problem
            if not isinstance(value, dict):
                raise UnreadableError(f"line {number} is no JSON object; write one a row") from error
        raise UnreadableError(str(error)) from error
