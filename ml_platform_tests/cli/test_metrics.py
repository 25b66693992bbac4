import json
import socket
import subprocess
import sys
from time import monotonic, sleep

import pytest
import requests
import yaml
from typer.testing import CliRunner

from ml_platform.cli import app
from ml_platform.cli.project import Project
from ml_platform_tests.services import free_port


def test_the_dashboard_and_the_rules_are_printed() -> None:
    shown = CliRunner().invoke(app, ["metrics", "--dashboard"])
    assert json.loads(shown.output)["title"] == "ml_platform"
    rules = CliRunner().invoke(app, ["metrics", "--rules"])
    assert yaml.safe_load(rules.output)["groups"][0]["name"] == "ml_platform"


def test_a_port_in_use_is_told(payments: Project) -> None:  # noqa: ARG001 - it is the project in the current folder
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        told = CliRunner().invoke(app, ["metrics", "--port", str(port)])
    assert told.exit_code == 2
    assert f"port {port} cannot be used: Address already in use; give another one with --port." in told.output


@pytest.mark.usefixtures("payments")
def test_it_serves_on_the_loopback_interface_until_it_is_ended() -> None:
    port = free_port()
    command = [sys.executable, "-m", "ml_platform", "metrics", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            assert "ml_platform_partitions{" in scraped(f"http://127.0.0.1:{port}/metrics")
        finally:
            process.terminate()


def scraped(address: str, seconds: float = 60) -> str:
    end = monotonic() + seconds
    while True:
        try:
            return requests.get(address, timeout=10).text
        except requests.ConnectionError:
            assert monotonic() < end, "it never answered"
            sleep(0.2)
