"""Reads that are tried again where what went wrong may pass by itself."""

import errno
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt."""

PASSING_NUMBERS = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.EINTR,
    errno.EIO,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
# classes of SQLSTATE: connection, rollback for another transaction, too few resources, shut down by an operator
PASSING_STATES = ("08", "40", "53", "57P")
# drivers have no number for what fails before there is a connection
PASSING_WORDS = (
    "connection refused",
    "connection reset",
    "connection timed out",
    "could not receive data",
    "database is locked",
    "server closed the connection",
    "starting up",
    "shutting down",
    "timeout expired",
    "too many clients",
    "too many connections",
)
TOO_MANY_REQUESTS, SERVER_ERROR = 429, 500


def retried(read: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """The result of a read, tried again after growing waits while what it raises may pass.

    Raises:
        Exception: what the last attempt raised, or the first one that will not pass.
    """
    for wait in WAITS:
        try:
            return read()
        except Exception as error:
            if not passes(error):
                raise
        sleep(wait)
    return read()


def passes(error: Exception) -> bool:
    """Whether an error may be gone a moment later: of a connection, a lock, a server; not a missing file or table."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in PASSING_NUMBERS:
        return True
    status = _status(error)
    if status is not None and (status == TOO_MANY_REQUESTS or status >= SERVER_ERROR):
        return True
    of_driver = getattr(error, "orig", None)  # SQLAlchemy wraps what the driver raised
    if of_driver is None:
        return False
    state = getattr(of_driver, "pgcode", None)
    return state.startswith(PASSING_STATES) if state else any(word in str(of_driver).lower() for word in PASSING_WORDS)


def _status(error: Any) -> int | None:
    """The HTTP status that a client of an object store tells, wherever it does."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")  # type: ignore[no-any-return]
    found = [getattr(error, name, None) for name in ("status", "status_code", "code")]
    return next((one for one in found if isinstance(one, int)), None)
