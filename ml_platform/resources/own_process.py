"""Fresh processes that run our own code, each at the other end of a connection."""

import os
import signal
import subprocess
import sys
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from select import poll
from threading import Thread


def environment() -> dict[str, str]:
    """The environment of this process, with its import path."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)}


def begin(module: str) -> tuple["subprocess.Popen[bytes]", Connection]:
    """A new process that runs `serve` of a module, and this end of the connection whose other end `serve` is given.

    It has the environment, the folder and the import path of this one, and a session of its own: Ctrl-C does not reach
    it. Once this end is closed, or its owner gone, it ends with all that it has started, whatever it is doing.
    """
    ours, theirs = Pipe()
    with theirs:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-c", f"from {__name__} import run; run({module!r}, {theirs.fileno()})"],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=environment(),
            start_new_session=True,
        )
    return process, ours


def run(module: str, descriptor: int) -> None:
    """In the new process: `serve` of a module, as long as somebody is at the other end of the connection."""
    Thread(target=_end_with_owner, args=[descriptor], daemon=True).start()
    import_module(module).serve(Connection(descriptor))


def _end_with_owner(descriptor: int) -> None:
    looking = poll()
    looking.register(descriptor, 0)  # no event but the hang-up of the other end, which is always told
    looking.poll()
    os.killpg(0, signal.SIGKILL)
