"""What may pass by itself is tried again after growing waits, and nothing else is."""

import errno
from typing import Any

import pytest

from ml_platform.sources.retrying import WAITS, passes, retried


class WrappedError(Exception):
    """An error as SQLAlchemy or a client of an object store raises it."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class DriverError(Exception):
    pgcode: str | None = None

    def __init__(self, message: str, pgcode: str | None = None) -> None:
        super().__init__(message)
        self.pgcode = pgcode


PASSING = [
    ConnectionResetError("reset"),
    TimeoutError(),
    OSError(errno.EAGAIN, "again"),
    OSError(errno.ESTALE, "stale"),
    OSError(errno.ETIMEDOUT, "timed out"),
    WrappedError(status=503),
    WrappedError(response={"ResponseMetadata": {"HTTPStatusCode": 500}}),
    WrappedError(orig=DriverError("connection to server failed: Connection refused")),
    WrappedError(orig=DriverError("database is locked")),
    WrappedError(orig=DriverError("deadlock detected", "40P01")),
]
LASTING = [
    FileNotFoundError(errno.ENOENT, "no such file"),
    PermissionError(errno.EACCES, "denied"),
    ValueError("no number"),
    WrappedError(status=403),
    WrappedError(response={"ResponseMetadata": {"HTTPStatusCode": 404}}),
    WrappedError(orig=DriverError("password authentication failed for user")),
    WrappedError(orig=DriverError('relation "connection refused" does not exist', "42P01")),
]


@pytest.mark.parametrize(("error", "expected"), [*((one, True) for one in PASSING), *((one, False) for one in LASTING)])
def test_what_may_pass_is_told_from_what_will_not(error: Exception, expected: bool) -> None:
    assert passes(error) is expected


def test_the_waits_grow_and_the_last_error_comes_through() -> None:
    waited: list[float] = []
    tried: list[int] = []

    def read() -> None:
        tried.append(1)
        raise TimeoutError(f"attempt {len(tried)}")

    with pytest.raises(TimeoutError, match=r"^attempt 6$"):
        retried(read, waited.append)
    assert waited == list(WAITS) == sorted(waited)


def test_what_comes_back_is_given_and_what_will_not_pass_is_raised_at_once() -> None:
    errors: list[Exception] = [TimeoutError(), ConnectionError()]
    waited: list[float] = []

    def read() -> str:
        if errors:
            raise errors.pop()
        return "rows"

    assert retried(read, waited.append) == "rows"
    assert len(waited) == 2
    errors.append(FileNotFoundError())
    with pytest.raises(FileNotFoundError):
        retried(read, waited.append)
    assert len(waited) == 2
