"""The end of the command's process, which frees nothing: whatever it was, it ends as any other of Python."""

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
