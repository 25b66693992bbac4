"""Scoring processes for the tests of everything else, forked from one that has imported all and used nothing.

Most tests that train a model need one, and a new one imports for two seconds.
"""

import os
import sys
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from ml_platform.resources import scoring_process

FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(
    [scoring_process.__name__, "pandas", "pyarrow", "skops.io", "sklearn.compose", "sklearn.linear_model"]
)


class Fork:
    """As much of a `subprocess.Popen` as is asked of `scoring_process.program`."""

    def __init__(self, errors: IO[bytes], environment: Mapping[str, str]) -> None:
        (given, ours), (theirs, taken) = os.pipe(), os.pipe()
        self.stdin, self.stdout = os.fdopen(ours, "wb"), os.fdopen(theirs, "rb")
        ends = [Connection(given), Connection(taken), Connection(os.dup(errors.fileno()))]
        self._process = FORKS.Process(target=become, args=[ends, environment, Path.cwd()], daemon=True)
        self._process.start()
        for end in ends:
            end.close()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self.returncode

    def kill(self) -> None:
        self._process.kill()

    def communicate(self) -> None:
        self.stdin.close()
        self.stdout.close()
        self.wait()


def become(ends: list[Connection], environment: Mapping[str, str], folder: Path) -> None:
    """In the fork: what the program would be, with these for its input, its output and its errors."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
    for number, end in enumerate(ends):
        os.dup2(end.fileno(), number)
        end.close()
    scoring_process.main()
