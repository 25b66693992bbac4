"""Which Dagster runs go on."""

import fcntl
from pathlib import Path

import dagster as dg
import pytest

from ml_platform.resources.alive import is_alive, kept_alive


@dg.job
def nothing() -> None:
    """A job without steps."""


def test_a_run_goes_on_while_its_file_is_locked_and_where_it_has_none(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run_id = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED).run_id
        file = Path(instance.storage_directory()) / run_id / "tracked"
        assert is_alive(instance, run_id)  # on another machine, perhaps
        with kept_alive(instance, run_id):
            assert is_alive(instance, run_id)
        assert not file.exists()

        file.write_text("")  # what a process leaves that was killed
        assert not is_alive(instance, run_id)
        with file.open() as opened:
            fcntl.flock(opened, fcntl.LOCK_SH)
            assert is_alive(instance, run_id)


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS])
def test_a_run_that_has_ended_does_not_go_on_and_that_of_another_instance_may(
    tmp_path: Path, status: dg.DagsterRunStatus
) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run_id = instance.create_run_for_job(nothing, status=status).run_id
        assert not is_alive(instance, run_id)
        assert is_alive(instance, "unknown")
