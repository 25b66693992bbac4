"""Fresh processes that run our own code, each at the other end of a connection."""

import os
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path


def environment() -> dict[str, str]:
    """The environment of this process, with its import path."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)}


def begin(module: str) -> tuple["subprocess.Popen[bytes]", Connection]:
    """A new process that runs `serve` of a module, and this end of the connection whose other end `serve` is given.

    It has the environment, the folder and the import path of this one, and a session of its own: Ctrl-C does not reach
    it, and what it has started can be ended with it. Once this end is closed, or its owner gone, the other end is told.
    """
    ours, theirs = Pipe()
    program = (
        f"from multiprocessing.connection import Connection; from {module} import serve; "
        f"serve(Connection({theirs.fileno()}))"
    )
    with theirs:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-c", program],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=environment(),
            start_new_session=True,
        )
    return process, ours
