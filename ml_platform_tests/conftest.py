"""Fixtures: a project of a user's own with its instance, and where everything it stores goes."""

import fcntl
import gc
import os
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from ml_platform.cli.project import Project, open_project
from ml_platform.cli.run import run_use_case
from ml_platform.cli.warm_up import HEAVY
from ml_platform.resources import scoring_process
from ml_platform_tests.databases import furnish
from ml_platform_tests.forks import Fork
from ml_platform_tests.projects import write_payments_project


def pytest_collection_finish() -> None:
    """Take what was imported out of the garbage collector's sight: it would look through all of it again and again."""
    gc.freeze()


@pytest.fixture
def payments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project with the use case `payments` and a file for each of its thirty days."""
    write_payments_project(tmp_path, f"project_{tmp_path.name.replace('-', '_')}")
    yield from opened(tmp_path, monkeypatch)


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> Iterator[Project]:
    """The project in a folder, with these variables; its environment and imports are undone afterwards."""
    for module in HEAVY:  # imports change the filters of warnings, which a thread must not do under a test
        import_module(module)
    monkeypatch.chdir(folder)
    furnish(folder / ".ml_platform")
    monkeypatch.setenv("ML_PLATFORM_HOME", str(folder / ".ml_platform"))
    for variable in ("DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(variable, "")  # so that what open_project and mlflow set is undone
        monkeypatch.delenv(variable)
    for variable, value in {"DAGSTER_DISABLE_TELEMETRY": "1", **environment}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(scoring_process, "program", Fork)
    project = open_project()
    yield project
    project.instance.dispose()


@pytest.fixture(scope="session")
def backtested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project with three versions; not to be changed, `registered` copies it.

    The workers of pytest-xdist share it: the first one that needs it makes it.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "backtested"
    made = folder.with_suffix(".made")
    with made.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.read_text():
            _backtest(folder)
            made.write_text("made")
    return folder


def _backtest(folder: Path) -> None:
    folder.mkdir()
    write_payments_project(folder, "backtested_project")
    with pytest.MonkeyPatch.context() as patch:
        for project in opened(folder, patch):
            succeeded, outcome = run_use_case(project, "payments", None, "2018-04-29", backtest=True, quiet=True)
            assert succeeded, outcome


@pytest.fixture
def registered(backtested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project with three versions, of which the newest is champion; it shares with others only MLflow's artifacts."""
    yield from copied(backtested, tmp_path / "project", monkeypatch)


def copied(source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A copy of a project with all that it stored; MLflow's artifacts stay where they are."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("artifacts", "__pycache__"))
    (package,) = (file.parent.name for file in folder.glob("*/definitions.py"))
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    yield from opened(folder, monkeypatch)
