"""The run launcher that forks runs from a warm process, and that process.

The warm process has imported libraries and none of the project's code, so that each run imports the code as it is on
disk. It holds no connections and has started no work: a fork can inherit neither. One fork is made ahead of the next
run; while it waits it imports the libraries that start threads, which it could not inherit, and MLflow.
"""

import fcntl
import gc
import importlib
import os
import signal
import subprocess
import sys
import warnings
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from threading import Lock

from dagster import DagsterRun, DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClassData, serialize_value
from dagster._utils.interrupts import capture_interrupts

# neither polars nor what imports it: that starts a thread, and a fork has only the thread that forked
LIBRARIES = (
    "dagster._cli.api",
    "dagster._core.storage.sqlite_storage",
    "jinja2",
    "upath.implementations.local",
    "pandas",
    "sklearn.compose",
    "sklearn.impute",
    "skops.io",
    "matplotlib.figure",
)
THREADED = ("polars", "deltalake")
PLATFORM = "ml_platform.components"  # unless it is the code of the project itself
MLFLOW = "ml_platform.resources.mlflow_server"  # four fifths of the step of a rollback
PATIENCE = 10.0  # seconds, for what takes milliseconds
IDLE = 5.0  # seconds without a run, so that imports ahead of the next do not slow down the last


class WarmRunLauncher(DefaultRunLauncher):
    """Forks runs from a warm process; what it cannot fork is launched as Dagster does by default.

    The warm process is started with the first run and again when it died, and ends with the process that launches.
    Runs are launched by default until it is warm, and where the code is elsewhere or needs another Python. That the
    process of a forked run was killed is noticed by run monitoring.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._server: _Server | None = None
        self._lock = Lock()

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run."""
        if not (_is_loadable_here(context) and self._fork(context.dagster_run)):
            super().launch_run(context)

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run; whether there was anything to interrupt."""
        if not (worker := self._worker(run_id)).exists():
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or not _is_locked(worker):
            return False
        self._instance.report_run_canceling(run)
        os.kill(int(worker.read_text(encoding="utf-8")), signal.SIGINT)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether run monitoring can ask for the process of a run."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the process of a forked run lives; for the others it is the code server that watches them."""
        if (worker := self._worker(run.run_id)).exists() and not _is_locked(worker):
            return CheckRunHealthResult(WorkerStatus.FAILED, "its process is gone")
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def dispose(self) -> None:
        """End the warm process; its runs go on."""
        with self._lock:
            if self._server:
                self._server.end()
                self._server = None

    def _fork(self, run: DagsterRun) -> bool:
        """Whether a forked process has taken a run on."""
        assert run.job_code_origin
        arguments = ExecuteRunArgs(run.job_code_origin, run.run_id, self._instance.get_ref())
        with self._lock:
            self._server = self._server or _Server()
            try:
                if not self._server.is_warm():
                    return False
                _hand_over(self._server.fork(), serialize_value(arguments), self._worker(run.run_id))
            except (EOFError, OSError):
                self._server.end()
                self._server = _Server()
                return False
            return True

    def _worker(self, run_id: str) -> Path:
        """The file with the process id of a forked run, which that process keeps locked."""
        return Path(self._instance.storage_directory()) / run_id / "worker"


class _Server:
    """A warm process, seen by the one that started it."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        self._warm = False
        self._spare: Connection | None = None
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def is_warm(self) -> bool:
        if not self._warm and self._connection.poll():
            self._warm = self._connection.recv()
        return self._warm

    def fork(self) -> Connection:
        """A connection to a process that was forked ahead, or else now; the next is forked ahead."""
        process = self._spare or self._forked()
        self._spare = self._forked()
        return process

    def _forked(self) -> Connection:
        ours, theirs = Pipe()
        with theirs:
            send_handle(self._connection, theirs.fileno(), self._process.pid)
        return ours

    def end(self) -> None:
        if self._spare:
            self._spare.close()
        self._connection.close()
        self._process.kill()
        self._process.wait()


def _is_loadable_here(context: LaunchRunContext) -> bool:
    """Whether the code of a run is on this machine, and for this Python."""
    run = context.dagster_run
    if not (context.workspace and run.remote_job_origin and run.job_code_origin):
        return False
    location = context.workspace.get_code_location(run.remote_job_origin.location_name)
    is_local = isinstance(location, GrpcServerCodeLocation) and location.client.socket is not None
    return is_local and run.job_code_origin.executable_path == sys.executable


def _hand_over(worker: Connection, arguments: str, file: Path) -> None:
    """Have a process take a run on.

    Raises:
        EOFError, OSError: it has not, and never will.
    """
    with worker:
        if not worker.poll(PATIENCE):
            raise TimeoutError
        worker.recv()
        worker.send((arguments, file))
        if worker.poll(PATIENCE):
            worker.recv()


def _is_locked(file: Path) -> bool:
    with file.open("r+") as opened:
        try:
            fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
    return False


def _serve(owner: Connection) -> Connection | None:
    """The launcher's connection to a forked process, in that process; in this one None, once the owner is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner and for runs
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for runs
    # the threads are those of OpenBLAS and jemalloc, which see to it that a fork can do without
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()  # so that collections in runs do not copy the memory that all share
    with owner, suppress(EOFError, ConnectionError):
        owner.send(True)
        while True:
            handle = recv_handle(owner)
            if os.fork() == 0:
                return Connection(handle)
            os.close(handle)
    return None


def _work(launcher: Connection) -> None:
    """Execute the run that a launcher hands over, if it does."""
    import numpy as np
    from dagster._cli.api import execute_run_command

    is_library = Path.cwd() not in Path(__file__).parents
    try:
        launcher.send(True)
        if not launcher.poll(IDLE):
            for library in THREADED:
                importlib.import_module(library)
            if is_library:
                importlib.import_module(PLATFORM)
                importlib.import_module(MLFLOW).import_registry()
        arguments, file = launcher.recv()
    except (EOFError, OSError):  # it has given up waiting, or ends
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with capture_interrupts():
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w") as opened:
            fcntl.lockf(opened, fcntl.LOCK_EX)  # unlike flock, not for what the run forks itself
            opened.write(str(os.getpid()))
            opened.flush()
            with launcher, suppress(ConnectionError):
                launcher.send(True)
            np.random.seed()  # noqa: NPY002 - the global state, which all forks share
            if not is_library:
                sys.modules.pop("ml_platform")  # its __init__ too is imported as it is on disk
            importlib.invalidate_caches()
            execute_run_command.main([arguments], standalone_mode=False)


if __name__ == "__main__" and (request := _serve(Connection(int(sys.argv[1])))):
    _work(request)
