"""The source `files`: rows from Parquet, CSV or JSON-lines files, one set of files a partition or one for all."""

from collections.abc import Iterable
from glob import glob
from hashlib import file_digest, sha256
from pathlib import Path

import polars as pl

from ml_platform.ml.contract import missing_columns
from ml_platform.partitions import data_partitions
from ml_platform.sources.delivery import Delivery, NotDeliveredError, Wanted, cut, undelivered
from ml_platform.use_case import FilesSource, UseCase

MISSING = ["", "NA", "NULL", "null"]


def read(source: FilesSource, use_case: UseCase, wanted: Wanted) -> list[Delivery]:
    """Find the files of each wanted partition; what cannot be read is the problem of its partition alone."""
    if wanted is None:
        return [_delivery(None, source, source.path)]
    if "{partition}" in source.path:
        return [_delivery(key, source, source.path.replace("{partition}", key)) for key in wanted]
    whole = _delivery(None, source, source.path)
    try:
        rows = whole.load()
    except NotDeliveredError as error:
        return [undelivered(key, str(error), whole.fingerprint) for key in wanted]
    if missing_columns(rows, use_case.contract):
        return [Delivery(key, whole.fingerprint, lambda: rows) for key in wanted]
    # rows without a readable event time belong to the first partition of all, so that each is delivered once
    definition = data_partitions(use_case)
    assert definition is not None
    return cut(rows, use_case, wanted, undated=str(definition.get_first_partition_key()))


def _delivery(partition: str | None, source: FilesSource, pattern: str) -> Delivery:
    found = glob(pattern)  # noqa: PTH207 - an absolute pattern is not Path.glob's
    paths = [Path(path) for path in sorted(found) if Path(path).is_file()]
    if not paths:
        return undelivered(partition, f"no file {pattern}; check source.path, or deliver the file.")
    try:
        fingerprint = _fingerprint(paths)
    except OSError as error:
        return undelivered(partition, f"{pattern} cannot be read: {error}.")
    return Delivery(partition, fingerprint, lambda: _load(paths, source, pattern, fingerprint))


def _load(paths: list[Path], source: FilesSource, pattern: str, fingerprint: str) -> pl.DataFrame:
    frames = []
    for path in paths:
        try:
            frames.append(_read_file(path, source))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise NotDeliveredError(f"{path} cannot be read as {source.format}: {error}.") from error
    if _fingerprint_now(paths) != fingerprint:
        raise NotDeliveredError(f"{pattern} changed while it was read; run again when it is complete.")
    try:
        return pl.concat(_alike(frames), how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise NotDeliveredError(f"the files {pattern} do not fit together: {error}.") from error


def _alike(frames: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Frames in which columns whose types differ are text: a common type of numbers would round some of them."""
    types: dict[str, set[pl.DataType]] = {}
    for frame in frames:
        for name, dtype in frame.schema.items():
            types.setdefault(name, set()).add(dtype)
    differing = [name for name, found in types.items() if len(found - {pl.Null()}) > 1]
    return [frame.with_columns(pl.col(set(differing) & set(frame.columns)).cast(pl.String)) for frame in frames]


def _read_file(path: Path, source: FilesSource) -> pl.DataFrame:
    match source.format:
        case "parquet":
            return pl.read_parquet(path)
        case "csv":
            # as text: the contract says what the columns are, not the first rows of a file
            return pl.read_csv(path, infer_schema=False, null_values=MISSING)
        case "jsonl":
            return pl.read_ndjson(path, infer_schema_length=None)


def _fingerprint_now(paths: Iterable[Path]) -> str | None:
    """The fingerprint, or None where a file is gone."""
    try:
        return _fingerprint(paths)
    except OSError:
        return None


def _fingerprint(paths: Iterable[Path]) -> str:
    digest = sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(file_digest(file, "sha256").digest())
    return digest.hexdigest()
