"""Services that tests run against, in a temporary folder: PostgreSQL, MLflow's tracking server, Dagster's commands."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from urllib.error import URLError
from urllib.request import urlopen

import pytest

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
"""Where Debian's package postgresql-15 puts them; elsewhere they are looked for on the path."""
PASSWORD = "s3cret"  # noqa: S105 - of a server that lives for a test
SETTINGS = "-c fsync=off -c full_page_writes=off -c synchronous_commit=off -c max_connections=50 -c shared_buffers=16MB"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The SQLAlchemy address of an empty database of a PostgreSQL server that asks for its password."""
    found = shutil.which("initdb", path=f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("PostgreSQL is not installed: there is no initdb")
    programs = Path(found).parent
    # not below pytest's folder, which only its owner may enter
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "password").write_text(PASSWORD)
        user = _other_user() if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        if user is not None:
            for path in (folder, folder / "password"):
                shutil.chown(path, user)
        data, port = folder / "data", free_port()
        initdb = [programs / "initdb", "-D", data, "-U", "shop", "-A", "scram-sha-256", "-E", "UTF8", "--no-locale"]
        subprocess.run([*initdb, "-N", f"--pwfile={folder}/password"], check=True, capture_output=True, user=user)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} {SETTINGS}"
        control = [programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
        subprocess.run([*control, "-o", options, "start"], check=True, stdout=subprocess.DEVNULL, user=user)
        try:
            yield f"postgresql+psycopg2://shop:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, user=user)


def _other_user() -> str:
    names = {user.pw_name for user in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def running(folder: Path, variables: Mapping[str, str], command: str, *arguments: str) -> Iterator[None]:
    """A command in a folder, in a session of its own that ends with it; what it writes is in `<command>.log` there."""
    with (folder / f"{command}.log").open("w") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name(command)), *arguments],
            cwd=folder,
            env=variables,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        finally:
            for how in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, how)
                    process.wait(20)
                except ProcessLookupError:
                    break
                except subprocess.TimeoutExpired:
                    continue
            process.wait(20)


def ends(process_id: int) -> bool:
    """Whether a process that is not ours is gone within twenty seconds; one that nobody waits for counts as gone."""
    for _ in range(100):
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(process_id)], capture_output=True, text=True, check=False
        )
        if state.stdout.strip()[:1] in {"", "Z"}:
            return True
        sleep(0.2)
    return False


class TrackingServer:
    """An MLflow server with a database of its own, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.uri, self._folder = f"http://127.0.0.1:{self.port}", folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--backend-store-uri", f"sqlite:///{self._folder}/server.db", "--workers", "1"]
        place = ["--host", "127.0.0.1", "--port", f"{self.port}", "--artifacts-destination", f"{self._folder}/served"]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "mlflow", "server", *options, *place],
                # no workers of jobs that nobody asks for
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,  # its workers are ended with it
            )
        latest = monotonic() + 120
        while not self._answers():
            assert monotonic() < latest, (self._folder / "server.log").read_text()
            sleep(0.2)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.uri}/health", timeout=5) as answer:  # noqa: S310 - of this machine
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


@contextmanager
def tracking_server(folder: Path) -> Iterator[TrackingServer]:
    """An MLflow server that is not started yet; it ends with the block."""
    server = TrackingServer(folder)
    try:
        yield server
    finally:
        server.kill()
