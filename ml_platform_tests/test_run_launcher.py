import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.instance import InstanceRef
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration
from dagster._utils.hosted_user_process import recon_job_from_origin

from ml_platform.run_launcher import WarmRunLauncher, _is_loadable_here

REPOSITORY = Path(__file__).parents[1]

CODE = """
import sys
import time
from pathlib import Path

import dagster as dg
import numpy as np

HERE = Path(__file__).parent
# these the run's instance has loaded
INSTANCE = {"ml_platform", "ml_platform.event_log", "ml_platform.run_launcher", "ml_platform.storages"}
INHERITED = [name for name in sys.modules.keys() - INSTANCE if name == "mlflow" or name.split(".")[0] == "ml_platform"]


@dg.op
def tell() -> None:
    import polars as pl

    rows = pl.DataFrame({"a": np.arange(1000) % 7}).lazy().group_by("a").len().collect().height
    with (HERE / "told").open("a") as told:
        told.write(f"old {rows} {np.random.random()} {INHERITED}\\n")


@dg.op
def wait() -> None:
    time.sleep(60)


@dg.job(executor_def=dg.in_process_executor)
def telling() -> None:
    tell()


@dg.job(executor_def=dg.in_process_executor)
def waiting() -> None:
    wait()


defs = dg.Definitions(jobs=[telling, waiting])
"""


@dataclass
class Deployment:
    """An instance with the shipped settings, and a code location that a code server has loaded."""

    code: Path
    instance: dg.DagsterInstance
    context: WorkspaceProcessContext

    @property
    def launcher(self) -> WarmRunLauncher:
        assert isinstance(self.instance.run_launcher, WarmRunLauncher)
        return self.instance.run_launcher

    def create(self, name: str) -> LaunchRunContext:
        workspace = self.context.create_request_context()
        location = workspace.get_code_location(workspace.code_location_names[0])
        job = location.get_repository("__repository__").get_full_job(name)
        origin = job.get_python_origin()
        run = self.instance.create_run_for_job(
            recon_job_from_origin(origin).get_definition(),
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=origin,
        )
        return LaunchRunContext(run, workspace)

    def launch(self, name: str) -> str:
        run, workspace = self.create(name)
        assert workspace
        return self.instance.launch_run(run.run_id, workspace).run_id

    def run(self, run_id: str) -> dg.DagsterRun:
        run = self.instance.get_run_by_id(run_id)
        assert run
        return run

    def status(self, run_id: str, *wanted: dg.DagsterRunStatus) -> dg.DagsterRunStatus:
        until(lambda: self.run(run_id).status in wanted or self.run(run_id).is_finished)
        return self.run(run_id).status

    def is_forked(self, run_id: str) -> bool:
        return GRPC_INFO_TAG not in self.run(run_id).tags

    def process(self, run_id: str) -> int:
        return int((Path(self.instance.storage_directory()) / run_id / "worker").read_text())

    def warm(self) -> psutil.Process:
        server = self.launcher._server
        assert server
        until(server.is_warm)
        return psutil.Process(server._process.pid)

    def spare(self) -> psutil.Process:
        """The fork made ahead, once no run is left and it has polars, which the warm process must not have."""
        warm = self.warm()
        until(lambda: len(warm.children()) == 1 and has_polars(warm.children()[0]))
        assert not has_polars(warm)
        return warm.children()[0]


def has_polars(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):  # a run that has just ended
        return any("polars" in Path(one.path).name for one in process.memory_maps())
    return False


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    home = tmp_path_factory.mktemp("dagster")
    shutil.copy(REPOSITORY / "dagster.yaml", home)
    code = tmp_path_factory.mktemp("code") / "code.py"
    code.write_text(CODE)
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home))) as instance:
        target = PythonFileTarget(str(code), attribute=None, working_directory=str(code.parent), location_name="code")
        with WorkspaceProcessContext(instance, target) as context:
            deployment = Deployment(code, instance, context)
            first = deployment.launch("telling")
            assert deployment.status(first) == dg.DagsterRunStatus.SUCCESS
            assert not deployment.is_forked(first)
            deployment.warm()
            yield deployment


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_forked_runs_import_the_project_as_it_is_on_disk_and_share_no_state(deployment: Deployment) -> None:
    runs = [deployment.launch("telling")]
    assert deployment.status(runs[0]) == dg.DagsterRunStatus.SUCCESS
    deployment.code.write_text(CODE.replace('f"old', 'f"changed'))
    runs.append(deployment.launch("telling"))
    assert deployment.status(runs[1]) == dg.DagsterRunStatus.SUCCESS

    assert all(map(deployment.is_forked, runs))
    told = [line.split() for line in (deployment.code.parent / "told").read_text().splitlines()]
    assert [words[:2] for words in told[1:]] == [["old", "7"], ["changed", "7"]]
    assert len({words[2] for words in told}) == 3
    assert [words[3] for words in told[1:]] == ["[]", "[]"]


def test_a_fork_made_ahead_imports_what_starts_threads_and_takes_the_next_run(deployment: Deployment) -> None:
    assert deployment.status(deployment.launch("telling")) == dg.DagsterRunStatus.SUCCESS
    spare = deployment.spare()
    run_id = deployment.launch("telling")
    assert deployment.status(run_id) == dg.DagsterRunStatus.SUCCESS
    assert deployment.process(run_id) == spare.pid


def test_a_fork_made_ahead_imports_the_platform_and_mlflow_where_that_is_no_code_of_the_project(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    deployment.launcher.dispose()
    deployment.status(deployment.launch("telling"))
    deployment.warm()
    deployment.status(deployment.launch("telling"))
    spare = deployment.spare()
    run_id = deployment.launch("telling")
    assert deployment.status(run_id) == dg.DagsterRunStatus.SUCCESS
    assert deployment.process(run_id) == spare.pid
    last = (deployment.code.parent / "told").read_text().splitlines()[-1]
    assert "'ml_platform.components'" in last
    assert "'mlflow'" in last


def test_another_process_can_cancel_a_forked_run(deployment: Deployment) -> None:
    run_id = deployment.launch("waiting")
    deployment.status(run_id, dg.DagsterRunStatus.STARTED)
    with dg.DagsterInstance.from_ref(deployment.instance.get_ref()) as webserver:
        assert webserver.run_launcher.terminate(run_id)
        assert deployment.is_forked(run_id)
        assert deployment.status(run_id) == dg.DagsterRunStatus.CANCELED
        assert not webserver.run_launcher.terminate(run_id)


def test_run_monitoring_fails_a_forked_run_whose_process_was_killed(deployment: Deployment) -> None:
    run_id = deployment.launch("waiting")
    deployment.status(run_id, dg.DagsterRunStatus.STARTED)
    monitor(deployment)
    assert deployment.run(run_id).status == dg.DagsterRunStatus.STARTED
    os.kill(deployment.process(run_id), 9)
    until(lambda: monitor(deployment) or deployment.run(run_id).is_finished)
    assert deployment.run(run_id).status == dg.DagsterRunStatus.FAILURE


def monitor(deployment: Deployment) -> None:
    for error in execute_run_monitoring_iteration(deployment.context, dg.get_dagster_logger()):
        assert error is None


def test_runs_that_need_another_python_are_not_forked(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    context = deployment.create("telling")
    assert _is_loadable_here(context)
    monkeypatch.setattr(sys, "executable", "/another/python")
    assert not _is_loadable_here(context)


def test_the_warm_process_ends_with_its_connection_and_no_run_is_lost(deployment: Deployment) -> None:
    survivor = deployment.launch("waiting")
    deployment.status(survivor, dg.DagsterRunStatus.STARTED)
    server = deployment.launcher._server
    assert server
    server._connection.close()
    assert server._process.wait(timeout=10) == 0

    run_id = deployment.launch("telling")
    assert not deployment.is_forked(run_id)
    assert deployment.launcher._server is not server
    assert deployment.launcher.terminate(survivor)
    assert deployment.status(survivor) == dg.DagsterRunStatus.CANCELED
    assert deployment.status(run_id) == dg.DagsterRunStatus.SUCCESS
