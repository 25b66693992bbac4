"""Which files of a source there are, by partition, and which there were when a sensor looked last."""

import json
import os
import re
import zlib
from collections.abc import Collection, Iterable, Set
from fnmatch import fnmatch
from glob import glob
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from upath import UPath

from ml_platform.resources.lake import Lake, put

DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
ANY_DATE = "-".join("[0-9]" * digits for digits in (4, 2, 2))


class File(NamedTuple):
    """A file of a partition; `modified` is in nanoseconds since the epoch."""

    partition: str
    path: str
    size: int
    modified: int


def listed(pattern: str, partitions: Set[str]) -> set[File]:
    """The files of these partitions that a pattern with `{partition}` in it finds."""
    constant = len(re.split(r"\{partition\}|[*?\[]", pattern, maxsplit=1)[0])
    found = set()
    for path in glob(pattern.replace("{partition}", ANY_DATE)):  # noqa: PTH207 - an absolute pattern is not Path.glob's
        dates = set(DATE.findall(path, constant))
        if len(dates) > 1:
            dates = {date for date in dates if fnmatch(path, pattern.replace("{partition}", date))}
        for date in dates & partitions:
            try:
                seen = os.stat(path)  # noqa: PTH116 - a Path of each takes longer than to look at all of them
            except FileNotFoundError:  # taken away meanwhile
                continue
            if S_ISREG(seen.st_mode):
                found.add(File(date, path, seen.st_size, seen.st_mtime_ns))
    return found


def put_there(files: Iterable[File]) -> float:
    """When the last of some files was put where it is, which may be long after it was modified; in seconds."""
    seen = [Path(one.path).stat() for one in files]
    return max(max(one.st_mtime, one.st_ctime) for one in seen)


def digest_of(files: Iterable[File]) -> str:
    """What tells one listing from another."""
    return sha256(_text(files)).hexdigest()[:16]


def keep(lake: Lake, use_case: str, files: Collection[File], before: str | None) -> str:
    """Keep a listing, and the one of a digest before it, until the next; its digest."""
    digest = digest_of(files)
    file = _file(lake, use_case, digest)
    file.parent.mkdir(parents=True, exist_ok=True)
    put(file, zlib.compress(_text(files), 1))
    for other in file.parent.iterdir():
        if other.name not in {digest, before}:
            other.unlink()
    return digest


def kept(lake: Lake, use_case: str, digest: str | None) -> set[File]:
    """The listing of a digest; no files without one, and in a lake that was emptied."""
    if digest is None or not (file := _file(lake, use_case, digest)).exists():
        return set()
    return {File(*one) for one in json.loads(zlib.decompress(file.read_bytes()))}


def _text(files: Iterable[File]) -> bytes:
    return json.dumps(sorted(files)).encode()


def _file(lake: Lake, use_case: str, digest: str) -> UPath:
    return UPath(lake.root, **lake.storage_options) / "listings" / use_case / digest
