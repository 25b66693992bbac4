"""A run in a process of its own that is killed, and what Dagster's daemon does about it: monitoring, then a retry."""

import logging
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic, sleep
from typing import Self

import dagster as dg
from dagster._core.remote_representation.external import RemoteJob
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import consume_new_runs_for_automatic_reexecution
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration

from ml_platform.cli.execution import QUIET
from ml_platform.cli.project import Project

PATIENCE = 120
QUIETLY = logging.getLogger("daemon")


class Killed:
    """A requested run whose process was killed by SIGKILL as soon as something was true, and that counts as failed.

    The project needs the settings of our dagster.yaml.
    """

    def __init__(self, project: Project, request: dg.RunRequest, moment: Callable[[], bool]) -> None:
        self._project, self._request, self._moment = project, request, moment
        self._open = ExitStack()

    def __enter__(self) -> Self:
        project, instance = self._project, self._project.instance
        (package,) = (file.parent.name for file in project.folder.glob("*/definitions.py"))
        location = project.folder.name
        target = ModuleTarget(f"{package}.definitions", None, str(project.folder), location)
        self._context = self._open.enter_context(
            WorkspaceProcessContext(instance, target, code_server_log_level="ERROR")
        )
        job = self._job(location)
        run = instance.create_run_for_job(
            project.job.get_subset(asset_selection=set(self._request.asset_selection or ())),
            asset_selection=frozenset(self._request.asset_selection or ()),
            tags=self._request.tags,
            run_config=QUIET,
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
        )
        self._run_id = run.run_id
        self._launch(run.run_id)
        _wait(self._moment)
        os.kill(self._process(), signal.SIGKILL)
        self._end(run.run_id)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def tried_again(self) -> bool:
        """Let the daemon retry the run; whether that succeeded."""
        instance = self._project.instance
        failed = instance.get_run_records(dg.RunsFilter(run_ids=[self._run_id]))
        list(consume_new_runs_for_automatic_reexecution(self._context, failed, QUIETLY))
        again = self._run(self._run_id).tags[AUTO_RETRY_RUN_ID_TAG]
        self._launch(again)  # as the daemon does with the queue
        return self._end(again).is_success

    def _job(self, location: str) -> RemoteJob:
        (repository,) = self._context.create_request_context().get_code_location(location).get_repositories().values()
        return repository.get_full_job(self._project.job.name)

    def _launch(self, run_id: str) -> None:
        self._project.instance.launch_run(run_id, self._context.create_request_context())

    def _process(self) -> int:
        """The process that the run said it has started in."""
        events = (entry.dagster_event for entry in self._project.instance.all_logs(self._run_id))
        (process,) = (
            event.engine_event_data.metadata["pid"].value
            for event in events
            if event and event.is_engine_event and (event.message or "").startswith("Started process for run")
        )
        return int(str(process))

    def _end(self, run_id: str) -> dg.DagsterRun:
        """The run once it has ended, which monitoring says of one whose process is gone."""

        def is_over() -> bool:
            list(execute_run_monitoring_iteration(self._context, QUIETLY))
            return self._run(run_id).is_finished

        _wait(is_over)
        return self._run(run_id)

    def _run(self, run_id: str) -> dg.DagsterRun:
        run = self._project.instance.get_run_by_id(run_id)
        assert run
        return run


def _wait(happened: Callable[[], bool]) -> None:
    end = monotonic() + PATIENCE
    while not happened():
        assert monotonic() < end, "waited in vain"
        sleep(0.02)
