"""Which Dagster runs go on: the process of one keeps a file locked, and lets go of it however it ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import dagster as dg


@contextmanager
def kept_alive(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """A block in which others see that a run goes on."""
    file = _file(instance, run_id)
    file.parent.mkdir(parents=True, exist_ok=True)
    unlocked = file.with_name(f".{uuid4()}")
    with unlocked.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_SH)
        unlocked.rename(file)  # only now: who finds it finds it locked
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


def is_alive(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a Dagster run may still go on; of one that was killed Dagster itself often does not know.

    Of a run that this instance does not know, perhaps one of another instance, nothing else can be said than yes.
    """
    run = instance.get_run_by_id(run_id)
    if run is None:
        return True
    if run.is_finished:
        return False
    try:
        with _file(instance, run_id).open() as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):  # the process of another machine; one that holds the lock
        return True
    return False


def _file(instance: dg.DagsterInstance, run_id: str) -> Path:
    return Path(instance.storage_directory()) / run_id / "tracked"
