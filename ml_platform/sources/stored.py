"""Files by path, glob or address, on a disk or in an object store: found, told apart and read."""

from glob import glob
from hashlib import file_digest, sha256
from pathlib import Path

from upath import UPath

from ml_platform.sources.retrying import retried
from ml_platform.sources.text import UnreadableError


def is_address(pattern: str) -> bool:
    """Whether it names objects of a store, not files on a disk."""
    return "://" in pattern


def find(pattern: str) -> list[UPath]:
    """The files that a path, a glob or an address names, in the order of their names.

    Raises:
        OSError, ImportError, ValueError: the store cannot be reached, or no library for it is there.
    """
    if not is_address(pattern):
        found = sorted(glob(pattern))  # noqa: PTH207 - an absolute pattern is not Path.glob's
        return [UPath(path) for path in found if Path(path).is_file()]
    address = UPath(pattern)
    store = address.fs

    def listed() -> list[str]:
        store.invalidate_cache()
        return sorted(path for path, told in store.glob(address.path, detail=True).items() if told["type"] == "file")

    return [UPath(store.unstrip_protocol(path), **address.storage_options) for path in retried(listed)]


def digest(path: UPath, content: bytes | None = None) -> bytes:
    """What changes when a file does: the digest of its content, or what an object store tells of it.

    Raises:
        OSError: it cannot be read.
    """
    if is_address(str(path)):
        return sha256(retried(lambda: state(path)).encode()).digest()
    if content is not None:
        return sha256(content).digest()

    def read() -> bytes:
        with Path(str(path)).open("rb") as file:
            return file_digest(file, "sha256").digest()

    return retried(read)


def snapshot(path: UPath, known: bytes | None = None) -> bytes:
    """The content of a file as it was at one moment, and with a known digest as it was when that was taken.

    Raises:
        UnreadableError: it changed in the meantime.
        OSError: it cannot be read.
    """

    def read() -> bytes:
        before = state(path)
        content = path.read_bytes()
        check_unchanged(before, state(path))
        return content

    content = retried(read)
    if known is not None:
        check_unchanged(known, digest(path, content))
    return content


def check_unchanged(before: str | bytes, after: str | bytes) -> None:
    """Raise UnreadableError if a file is not what it was."""
    if before != after:
        raise UnreadableError("it changed while it was read; run again when it is complete")


def state(path: UPath) -> str:
    """What a disk or a store tells of a file without reading it: size, time and number or tag."""
    if is_address(str(path)):
        path.fs.invalidate_cache()
        return str(path.fs.checksum(path.path))
    found = Path(str(path)).stat()
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"
