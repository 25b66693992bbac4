"""What fails while a stage is at work: its class, and what is done about it, by the use case's block `failures`."""

import errno
import re
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from random import uniform
from time import sleep
from typing import Any, TypeVar

import dagster as dg

from ml_platform.io_managers.publishing import Key
from ml_platform.partitions import span
from ml_platform.stages.definition import Keys
from ml_platform.stages.record import say
from ml_platform.stages.work import Work
from ml_platform.use_case import SEVERITIES, FailureClass, Stage

Result = TypeVar("Result")
FAILURE_CLASS, SEVERITY, PARTITIONS = "failure_class", "severity", "partitions"
TAGGED = (FAILURE_CLASS, SEVERITY)
MOST_TOLD = 500  # of the characters of an error

_ERRNOS: dict[FailureClass, set[int]] = {
    "resources": {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM, errno.EMFILE},
    "transient": {
        *(errno.EAGAIN, errno.EBUSY, errno.EPIPE, errno.ESTALE, errno.ETIMEDOUT, errno.ENETDOWN, errno.ENETUNREACH),
        *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET),
    },
}
# SQLite and libraries in Rust have one class of error for all that can happen
_OF_LIBRARIES = {"DeltaError", "ComputeError", "OperationalError"}
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_SAID: dict[FailureClass, re.Pattern[str]] = {
    "resources": re.compile(r"database or disk is full|out of memory", re.IGNORECASE),
    "transient": re.compile(
        r"is locked|error sending request|(connection|server) (was )?(closed|refused|reset)|timed out", re.IGNORECASE
    ),
}


@dataclass(frozen=True)
class Refusal:
    """Why a partition was not published, and the class of that failure."""

    reason: str
    failure_class: FailureClass


Refusals = dict[Stage, dict[Key, Refusal]]


class StageError(Exception):
    """A failure whose class is known already; the message is a sentence for people."""

    def __init__(self, message: str, failure_class: FailureClass) -> None:
        super().__init__(message)
        self.failure_class = failure_class


def failure_class(error: BaseException) -> FailureClass:
    """The class of an error, by itself or by what it was raised for; `code` if nothing tells another one."""
    return next((found for one in _chain(error) if (found := _own_class(one))), "code")


def told(error: BaseException) -> str:
    """An error in a sentence."""
    if isinstance(error, StageError):
        return str(error)
    said = str(error).strip() or "it says no more"
    return f"{type(error).__name__}: {said[:MOST_TOLD].rstrip('.')}."


def stopped(work: Work, stage: Stage, keys: Keys, error: BaseException) -> dg.Failure:
    """The failure that ends a step: what the class of an error asks for, or what is left once retries are used up."""
    return failure(work, f"{_subject(stage, keys)} stopped: {told(error)}", failure_class(error), keys)


def failure(work: Work, message: str, kind: FailureClass, keys: Keys, **more: Any) -> dg.Failure:
    """The failure that ends a step, with what a program may read of it; its run is tagged so that it can be found."""
    said = described(work, kind, keys)
    work.instance.add_run_tags(work.step.run.run_id, {f"ml_platform/{name}": str(said[name]) for name in TAGGED})
    return dg.Failure(message, metadata={**more, **said}, allow_retries=kind == "transient")


def described(work: Work, kind: FailureClass, keys: Keys) -> dict[str, str | list[str]]:
    """What a program may read of a failure."""
    severity = work.use_case.failures.severity(kind)
    return {FAILURE_CLASS: kind, SEVERITY: severity, PARTITIONS: [key for key in keys if key is not None]}


def worst(work: Work, kinds: Sequence[FailureClass]) -> FailureClass:
    """The class of the gravest of some failures."""
    return max(kinds, key=lambda kind: SEVERITIES.index(work.use_case.failures.severity(kind)))


def retried(work: Work, stage: Stage, keys: Keys, attempt: Callable[[], Result]) -> Result:
    """What an attempt gives; transient failures are waited for, longer each time.

    Raises:
        Exception: that of the last attempt.
    """
    policy = work.use_case.failures.transient
    for number in range(policy.retries if policy.do == "retry" else 0):
        try:
            return attempt()
        except Exception as error:
            if failure_class(error) != "transient":
                raise
            # so that those that failed together do not come back together
            wait = policy.first_wait.total_seconds() * 2**number * uniform(0.5, 1)  # noqa: S311
            again = f"tried again in {wait:.1f} s ({number + 1} of {policy.retries})"
            say(
                work.step, f"{_subject(stage, keys)} failed, {again}: {told(error)}", described(work, "transient", keys)
            )
            sleep(wait)
    return attempt()


def survived(
    work: Work,
    stage: Stage,
    keys: Keys,
    done: Collection[Key],
    advance: Callable[[Keys], None],
    skip: Callable[[Key, BaseException], None],
) -> None:
    """Advance partitions together, or half of them at a time where that fails; one that fails alone is skipped.

    `advance` adds to `done` what is finished, and that is not done again.

    Raises:
        dg.Failure: the class of the failure asks to stop.
    """

    def left() -> Keys:
        return [key for key in keys if key not in done]

    try:
        retried(work, stage, keys, lambda: advance(left()))
    except (dg.Failure, dg.RetryRequested):  # what a person has decided in their code
        raise
    except Exception as error:
        kind, failed, failures = failure_class(error), left(), work.use_case.failures
        if {"resources": failures.resources.do, "code": failures.code.do}.get(kind) != "split":
            raise stopped(work, stage, failed, error) from error
        if len(failed) == 1:
            skip(failed[0], error)
            return
        say(work.step, f"{_subject(stage, failed)} failed, halved: {told(error)}", described(work, kind, failed))
        middle = len(failed) // 2
        for half in (failed[:middle], failed[middle:]):
            survived(work, stage, half, done, advance, skip)


def _subject(stage: Stage, keys: Keys) -> str:
    return f"{stage} {span([key or '' for key in keys])}".strip()


def _chain(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _own_class(error: BaseException) -> FailureClass | None:
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, StageError):
        return error.failure_class
    if isinstance(error, MemoryError) or number in _ERRNOS["resources"]:
        return "resources"
    if isinstance(error, ConnectionError | TimeoutError) or number in _ERRNOS["transient"]:
        return "transient"
    if type(error).__name__ == "CommitFailedError":  # another writer of the table was first, again and again
        return "transient"
    if isinstance(error, sqlite3.Error) or type(error).__name__ in _OF_LIBRARIES:
        numbers = {int(found) for found in _OS_ERROR.findall(str(error))}
        return next((kind for kind, said in _SAID.items() if numbers & _ERRNOS[kind] or said.search(str(error))), None)
    return None
