"""Fixtures: a project of a user's own with its instance, and where everything it stores goes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_platform.cli.project import Project, open_project
from ml_platform_tests.projects import PAYMENT_FEATURES, PAYMENTS, write_payments, write_project, write_use_case


@pytest.fixture
def payments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project with the use case `payments` and a file for each of its thirty days."""
    package = f"project_{tmp_path.name.replace('-', '_')}"
    write_project(tmp_path, package)
    write_use_case(tmp_path, package, "payments", PAYMENTS, PAYMENT_FEATURES)
    write_payments(tmp_path, days=30)
    yield from opened(tmp_path, monkeypatch)


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The project in a folder, its environment and imports undone afterwards."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ML_PLATFORM_HOME", str(folder / ".ml_platform"))
    for variable in ("DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(variable, "")  # so that what open_project and mlflow set is undone
        monkeypatch.delenv(variable)
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    monkeypatch.setattr(sys, "path", [*sys.path])
    project = open_project()
    yield project
    project.instance.dispose()
