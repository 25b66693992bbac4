"""The registry in a process of its own, which imports MLflow while this one imports Dagster: each takes a second."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from multiprocessing.connection import Connection
from pathlib import Path
from pickle import dumps, loads
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from ml_platform.errors import UserError
from ml_platform.resources import own_process
from ml_platform.resources.mlflow_server import import_registry
from ml_platform.resources.registry import Registry

# much of what MLflow imports; its skinny distribution does without them, and a version is no data frame
NOT_NEEDED = ("numpy", "pandas", "polars", "pyarrow", "pygments", "scipy")
P = ParamSpec("P")
T = TypeVar("T")


class RegistryProcess:
    """A process that begins to import MLflow with the block; it ends with the block, or with its parent."""

    _process: "subprocess.Popen[bytes]"
    _connection: Connection

    def __enter__(self) -> Self:
        self._process, self._connection = own_process.begin(__name__)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # what was asked is answered; the end of what has imported so much takes its time
        self._process.wait()
        self._connection.close()

    def ask(self, registry: Registry, method: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """What a method of a registry returns, or raises, there.

        Raises:
            ConnectionError: the process has ended.
        """
        try:
            self._connection.send((Path.cwd(), registry.uri, registry.artifacts, method, arguments, named))
            answer, error = self._connection.recv()
        except (EOFError, ConnectionError):
            code = self._process.wait()
            raise ConnectionError(
                f"the process that asks MLflow ended with the exit code {code}; look at what it wrote, and run again."
            ) from None
        if error is not None:
            raise error
        return cast("T", answer)


def _asked(method: Callable[Concatenate[Registry, P], T]) -> Callable[Concatenate["AskedRegistry", P], T]:
    """A method of a registry, called in the process."""

    @wraps(method)
    def asked(self: "AskedRegistry", /, *arguments: P.args, **named: P.kwargs) -> T:
        return self.process.ask(self, method, *arguments, **named)

    return asked


class AskedRegistry(Registry):
    """A registry that is asked in a process of its own."""

    def __init__(self, registry: Registry, process: RegistryProcess) -> None:
        self.uri, self.artifacts, self.process = registry.uri, registry.artifacts, process

    champion = _asked(Registry.champion)
    crown = _asked(Registry.crown)
    version = _asked(Registry.version)
    versions = _asked(Registry.versions)
    spoilt = _asked(Registry.spoilt)
    ledger_mark = _asked(Registry.ledger_mark)
    mark_ledger = _asked(Registry.mark_ledger)


def serve(asking: Connection) -> None:
    """Answer what is asked at the other end of a connection, until nobody is there."""
    gc.disable()  # nothing of what imports make is garbage
    sys.modules.update(dict.fromkeys(NOT_NEEDED))  # type: ignore[arg-type]  # None: as if they were not installed
    import_registry()
    gc.freeze()
    gc.enable()
    registry = Registry()
    with asking, suppress(EOFError, ConnectionError):
        while True:
            folder, registry.uri, registry.artifacts, method, arguments, named = asking.recv()
            os.chdir(folder)
            answer: tuple[Any, Exception | None]
            try:
                answer = method(registry, *arguments, **named), None
            except Exception as error:  # whatever it is, it is for who asks
                answer = None, _sendable(error)
            asking.send(answer)


def _sendable(error: Exception) -> Exception:
    """An error, or what it says where the other end could not make it again."""
    try:
        loads(dumps(error))  # noqa: S301 - our own
    except Exception:
        return UserError(f"MLflow cannot do it: {error}")
    return error
