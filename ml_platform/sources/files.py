"""The source `files`: rows from Parquet, CSV or JSON-lines files, one set of files a partition or one for all."""

from collections.abc import Iterable
from glob import glob
from hashlib import file_digest, sha256
from pathlib import Path

import polars as pl

from ml_platform.ml.contract import coerce, missing_columns, partition_of
from ml_platform.ml.splits import Window
from ml_platform.partitions import KEY_FORMAT, data_partitions
from ml_platform.sources.delivery import Delivery, Wanted
from ml_platform.use_case import FilesSource, UseCase

MISSING = ["", "NA", "NULL", "null"]


def read(source: FilesSource, use_case: UseCase, wanted: Wanted) -> list[Delivery]:
    """Read the files of each wanted partition; what cannot be read is the problem of its partition alone."""
    if wanted is None:
        return [_deliver(None, source, source.path)]
    if "{partition}" in source.path:
        return [_deliver(key, source, source.path.replace("{partition}", key)) for key in wanted]
    return _cut(_deliver(None, source, source.path), use_case, wanted)


def _deliver(partition: str | None, source: FilesSource, pattern: str) -> Delivery:
    found = glob(pattern)  # noqa: PTH207 - an absolute pattern is not Path.glob's
    paths = [Path(path) for path in sorted(found) if Path(path).is_file()]
    if not paths:
        return Delivery(partition, problem=f"no file {pattern}; check source.path, or deliver the file.")
    frames = []
    for path in paths:
        try:
            frames.append(_read_file(path, source))
        except (pl.exceptions.PolarsError, OSError) as error:
            return Delivery(partition, problem=f"{path} cannot be read as {source.format}: {error}.")
    try:
        rows = pl.concat(_alike(frames), how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        return Delivery(partition, problem=f"the files {pattern} do not fit together: {error}.")
    return Delivery(partition, rows, _fingerprint(paths))


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


def _cut(whole: Delivery, use_case: UseCase, wanted: dict[str, Window]) -> list[Delivery]:
    """One delivery cut into partitions by the contract's event time."""
    contract, windows = use_case.contract, use_case.windows
    assert windows is not None
    assert contract.event_time is not None
    rows = whole.rows
    if rows is None or missing_columns(rows, contract):
        return [Delivery(key, rows, whole.fingerprint, whole.problem) for key in wanted]
    # rows without a readable event time belong to the first partition of all, so that each is delivered once
    definition = data_partitions(use_case)
    assert definition is not None
    undated = definition.get_first_partition_key()
    key = coerce(rows, contract).select(
        partition_of(contract.event_time, windows.every)
        .dt.to_string(KEY_FORMAT)
        .fill_null(undated)
        .alias("__partition")
    )
    parts = rows.hstack(key).partition_by("__partition", as_dict=True, include_key=False)
    return [Delivery(key, parts.get((key,), rows.clear()), whole.fingerprint) for key in wanted]


def _fingerprint(paths: Iterable[Path]) -> str:
    digest = sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(file_digest(file, "sha256").digest())
    return digest.hexdigest()
