"""The end of the command's process, which frees nothing: whatever it was, it ends as any other of Python."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import atexit
import sys
from threading import Timer

from ml_platform import cli
from ml_platform.__main__ import main


def app() -> None:
    atexit.register(print, "closed")
    Timer(0.1, print, ["waited for"]).start()
    {end}


cli.app = app
main()
"""


@pytest.mark.parametrize(
    ("end", "status", "error"),
    [
        ("return", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('no such day')", 1, "no such day\n"),
        ("raise ValueError('of ours')", 1, "ValueError: of ours\n"),
    ],
)
def test_threads_are_waited_for_what_is_open_is_closed_and_the_status_is_told(
    end: str, status: int, error: str
) -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM.format(end=end)], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (status, "waited for\nclosed\n")
    assert ended.stderr == error or (error.startswith("ValueError") and ended.stderr.endswith(error))


@pytest.mark.parametrize(("encoding", "written"), [("utf-8", "3 days …\n"), ("ascii", "3 days \\u2026\n")])
def test_a_letter_that_the_terminal_does_not_know_is_no_failure(encoding: str, written: str) -> None:
    program = PROGRAM.format(end="print('3 days \\u2026')")
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    ended = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, env=environment, encoding="utf-8"
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(written)


def test_a_command_whose_output_is_closed_ends_as_any_other() -> None:
    program = PROGRAM.format(end="sys.exit(3)")
    ended = subprocess.run(["sh", "-c", '"$0" -c "$1" >&-', sys.executable, program], check=False, capture_output=True)
    assert (ended.returncode, ended.stderr) == (3, b"")
