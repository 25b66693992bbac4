"""`ml-platform alerts`: the incidents that go on, and whether each channel takes a message."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ml_platform.alerts.sensor import look, project_of
from ml_platform.cli import app
from ml_platform.cli.project import Project
from ml_platform_tests.alerts.receivers import http_server
from ml_platform_tests.alerts.test_incidents import CHANNEL, NOW
from ml_platform_tests.tiny_project import Variant, run, tiny_project


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with tiny_project(tmp_path, {"tiny": Variant({"alerts": CHANNEL}), "fine": Variant()}) as project:
        yield project


def test_open_incidents_are_listed(project: Project) -> None:
    assert invoke("alerts").stdout == "Nothing is wrong that alerts know of.\n"
    (project.folder / "data" / "tiny-2024-01-02.parquet").unlink()
    run(project, "tiny", days=3)
    repository = project.definitions.get_repository_def()
    look(project.instance, project_of(repository), project.alerts, project.lake, lambda _: None, NOW)

    (row,) = json.loads(invoke("alerts", "--json").stdout)
    assert (row["severity"], row["partitions"], row["told"]) == ("medium", ["2024-01-02"], ["console"])
    assert row["why"].startswith("no file data/tiny-2024-01-02.parquet")
    assert f"{NOW:%Y-%m-%d %H:%M}" in invoke("alerts", "tiny").stdout
    assert invoke("alerts", "fine").stdout == "Nothing is wrong that alerts know of.\n"
    assert "did you mean 'tiny'?" in invoke("alerts", "tny").stderr


def test_each_channel_is_tried(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert project.use_cases() == ["fine", "tiny"]
    monkeypatch.delenv("RISK_ALERTS", raising=False)
    unset = invoke("alerts", "--test")
    assert (unset.exit_code, unset.stdout) == (1, "risk (RISK_ALERTS): it is not set\n")
    with http_server() as inbox:
        monkeypatch.setenv("RISK_ALERTS", f"json://127.0.0.1:{inbox.port}")
        works = invoke("alerts", "--test")
        assert (works.exit_code, works.stdout) == (0, "risk (RISK_ALERTS): sent\n")
        assert inbox.titles == ["ml-platform: a test"]
        inbox.status = 500
        fails = invoke("alerts", "--test", "--json")
        assert fails.exit_code == 1
        assert json.loads(fails.stdout) == [
            {"channel": "risk", "variable": "RISK_ALERTS", "problem": "it answered HTTP 500"}
        ]
    assert invoke("alerts", "fine", "--test").exit_code == 0
