"""The source `files`: rows from Parquet, CSV or JSON-lines files, one set of files a partition or one for all."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256

import polars as pl
from upath import UPath

from ml_platform.ml.splits import Window
from ml_platform.partitions import data_partitions
from ml_platform.sources.delimited import other_delimiter
from ml_platform.sources.delivery import (
    Delivery,
    NotDeliveredError,
    Session,
    Wanted,
    by_partition,
    concatenated,
    delivered,
    undelivered,
)
from ml_platform.sources.reading import collected, is_compressed, parquet, parse
from ml_platform.sources.stored import check_unchanged, digest, find, is_address, snapshot, state
from ml_platform.sources.text import UnreadableError
from ml_platform.use_case import FilesSource, UseCase

UNREACHABLE = (OSError, ImportError, ValueError)
FAR = datetime(9000, 1, 1)
"""Event times after it may be beyond what Python can name: they are read with those that are missing."""


def read(source: FilesSource, use_case: UseCase, wanted: Wanted, session: Session) -> list[Delivery]:
    """Find the files of each wanted partition; what cannot be read is the problem of its partition alone."""
    if wanted is None:
        return [_delivery(None, source, use_case, source.path)]
    if "{partition}" in source.path:
        return [_delivery(key, source, use_case, source.path.replace("{partition}", key)) for key in wanted]
    try:
        return [delivered(key, rows) for key, rows in _parts(source, use_case, wanted, session).items()]
    except NotDeliveredError as error:
        return [undelivered(key, str(error)) for key in wanted]


def _parts(
    source: FilesSource, use_case: UseCase, wanted: dict[str, Window], session: Session
) -> Mapping[str, pl.DataFrame]:
    """The rows of each wanted partition out of files that hold those of many."""
    if source.path in session.wholes:
        return {key: session.wholes[source.path][key] for key in wanted}
    # rows without a readable event time belong to the first partition of all, so that each is delivered once
    definition = data_partitions(use_case)
    assert definition is not None
    keys = definition.get_partition_keys()
    paths = _found(source.path)
    if source.format == "parquet" and not is_address(source.path) and not any(map(is_compressed, paths)):
        rows = _rows_between(paths, source, use_case, wanted, first=keys[0])
        if rows is not None:
            return by_partition(rows, use_case, wanted, undated=keys[0])
    rows = _load(source.path, paths, source, use_case)
    session.wholes[source.path] = by_partition(rows, use_case, {*keys, *wanted}, undated=keys[0])
    return {key: session.wholes[source.path][key] for key in wanted}


def _found(pattern: str) -> list[UPath]:
    try:
        paths = find(pattern)
    except UNREACHABLE as error:
        raise NotDeliveredError(f"{pattern} cannot be reached: {error}.") from error
    if not paths:
        raise NotDeliveredError(f"no file {pattern}; check source.path, or deliver the file.")
    return paths


def _delivery(partition: str | None, source: FilesSource, use_case: UseCase, pattern: str) -> Delivery:
    try:
        paths = _found(pattern)
        known = [digest(path) for path in paths]
    except NotDeliveredError as error:
        return undelivered(partition, str(error))
    except OSError as error:
        return undelivered(partition, f"{pattern} cannot be read: {error}.")
    fingerprint = sha256(b"".join(known)).hexdigest()
    return Delivery(partition, fingerprint, lambda: _load(pattern, paths, source, use_case, known))


def _load(
    pattern: str,
    paths: Sequence[UPath],
    source: FilesSource,
    use_case: UseCase,
    known: Sequence[bytes] = (),
) -> pl.DataFrame:
    """The rows of files; with known digests only if they are those that are read now."""
    frames = []
    for number, path in enumerate(paths):
        try:
            frames.append(parse(snapshot(path, known[number] if known else None), path, source))
        except (UnreadableError, OSError) as error:
            raise NotDeliveredError(f"{path} cannot be read as {source.format}: {error}.") from error
        if other := _other_delimiter(frames[-1], source, use_case):
            raise NotDeliveredError(
                f"{path} has no column of the contract's with the delimiter {source.delimiter!r}; it looks like "
                f"{other!r}, set source.delimiter."
            )
    return concatenated(frames, f"the files {pattern}")


def _other_delimiter(rows: pl.DataFrame, source: FilesSource, use_case: UseCase) -> str | None:
    wanted = use_case.contract.columns
    if source.format != "csv" or set(wanted).intersection(rows.columns):
        return None
    return other_delimiter(rows.columns, source.delimiter, wanted)


def _rows_between(
    paths: Sequence[UPath], source: FilesSource, use_case: UseCase, wanted: dict[str, Window], first: str
) -> pl.DataFrame | None:
    """The rows of Parquet files around the wanted partitions; None if their event time is no datetime.

    Only the row groups that may have such rows are read.
    """
    frames = []
    start, end = min(one.start for one in wanted.values()), max(one.end for one in wanted.values())
    for path in paths:
        try:
            before = state(path)
            rows = parquet(str(path))
            kind = rows.collect_schema().get(str(use_case.contract.event_time))
            if not isinstance(kind, pl.Datetime):
                return None
            time = pl.col(str(use_case.contract.event_time))
            near = time.is_between(_moment(start, kind), _moment(end, kind), closed="left")
            if first in wanted:
                near |= time.is_null() | (time < _moment(start, kind))
                if kind.time_unit != "ns":
                    near |= time > _moment(FAR, kind)
            frames.append(collected(rows.filter(near)))
            check_unchanged(before, state(path))
        except (UnreadableError, OSError) as error:
            raise NotDeliveredError(f"{path} cannot be read as {source.format}: {error}.") from error
    return concatenated(frames, f"the files {source.path}")


def _moment(moment: datetime, kind: pl.Datetime) -> pl.Expr:
    """A moment in UTC as a literal of a column's type, with which statistics of row groups can be compared."""
    zoned = pl.lit(moment).dt.replace_time_zone("UTC").dt.convert_time_zone(kind.time_zone) if kind.time_zone else None
    return pl.lit(pl.select(pl.lit(moment) if zoned is None else zoned).item(), dtype=kind)
