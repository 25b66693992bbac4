"""The registry, asked in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from ml_platform.cli.project import Project
from ml_platform.errors import UserError
from ml_platform.resources.registry import Mark, UnknownVersionError
from ml_platform.resources.registry_process import AskedRegistry, RegistryProcess
from ml_platform.resources.tracking import Tracking
from ml_platform_tests.services import ends

UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture
def process() -> Iterator[RegistryProcess]:
    with RegistryProcess() as process:
        yield process


def test_it_answers_as_here(registered: Project, process: RegistryProcess) -> None:
    here = registered.work("payments").tracking
    there = AskedRegistry(here, process)
    assert there.versions("payments") == here.versions("payments") != []
    assert there.version("payments", number=2) == here.version("payments", 2)
    assert there.ledger_mark("payments") == here.ledger_mark("payments") is not None
    assert there.champion("payments") == here.champion("payments") is not None
    assert there.champion("never_registered") is None


def test_what_is_done_there_is_seen_here(registered: Project, process: RegistryProcess) -> None:
    here = registered.work("payments").tracking
    there = AskedRegistry(here, process)
    there.crown(there.version("payments", 1))
    assert here.champion("payments") == here.version("payments", 1)
    for mark in (Mark("an entry"), Mark("an entry", answered=True)):
        there.mark_ledger("payments", mark)
        assert here.ledger_mark("payments") == there.ledger_mark("payments") == mark


def test_an_error_there_is_raised_here_and_the_next_question_answered(
    registered: Project, process: RegistryProcess
) -> None:
    there = AskedRegistry(registered.work("payments").tracking, process)
    with pytest.raises(UnknownVersionError, match="has no version 9; the newest are 1, 2, 3"):
        there.version("payments", 9)
    assert there.version("payments", 3).number == 3


def test_an_error_that_cannot_be_sent_comes_with_its_words(process: RegistryProcess) -> None:
    with pytest.raises(UserError, match=r"^MLflow cannot do it: .* 'elsewhere://here'"):
        AskedRegistry(Tracking(uri="elsewhere://here", artifacts="nowhere"), process).versions("payments")


def test_a_server_that_is_away_is_the_same_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with (
        RegistryProcess() as process,
        pytest.raises(ConnectionError, match=f"the tracking server {UNREACHABLE} cannot be reached; start it"),
    ):
        AskedRegistry(Tracking(uri=UNREACHABLE, artifacts="nowhere"), process).champion("payments")


def test_it_tells_nobody_and_has_nothing_of_dagster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "looking.py").write_text(
        "import os, sys\ndef look(_): return os.environ['MLFLOW_DISABLE_TELEMETRY'], 'dagster' in sys.modules\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    with RegistryProcess() as process:
        looked = process.ask(Tracking(uri=UNREACHABLE, artifacts="nowhere"), import_module("looking").look)
    assert looked == ("true", False)


def test_a_process_that_has_ended_is_a_sentence(registered: Project, process: RegistryProcess) -> None:
    os.kill(process._process.pid, signal.SIGKILL)
    with pytest.raises(ConnectionError, match="ended with the exit code -9; look at what it wrote, and run again"):
        AskedRegistry(registered.work("payments").tracking, process).champion("payments")


def test_it_ends_with_its_parent() -> None:
    code = """
import os, signal
from ml_platform.resources.registry_process import RegistryProcess
with RegistryProcess() as process:
    print(process._process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert ends(int(ended.stdout))


def test_it_ends_with_its_parent_in_the_middle_of_an_answer_and_so_does_what_it_has_started(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("""
import os, signal, subprocess, time
def answer(_):
    print(os.getpid(), subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL).pid, flush=True)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
""")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from slow import answer
from ml_platform.resources.registry_process import RegistryProcess
from ml_platform.resources.tracking import Tracking
with RegistryProcess() as process:
    process.ask(Tracking(uri="{UNREACHABLE}", artifacts="nowhere"), answer)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        left = [int(process_id) for process_id in parent.stdout.readline().split()]
        assert parent.wait() == -signal.SIGKILL
        assert [ends(process_id) for process_id in left] == [True, True]
