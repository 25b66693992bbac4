"""The connection to MLflow: its settings, its database, and what is said where it cannot be reached."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

SQLITE = "sqlite:///"
UI = "http://127.0.0.1:5000"  # where `mlflow ui` shows a database
MOST_TOLD = 500  # of the characters of an error
_MAKING = Lock()  # sensors look in threads: MLflow's migrations are not made for two, nor is the database in memory


class MlflowServer:
    """MLflow at `uri`; `artifacts` is the address below which it stores files, empty for that of a tracking server."""

    uri: str
    artifacts: str

    @property
    def address(self) -> str:
        """Its address as it may be told."""
        return without_login(self.uri)

    def errors(self) -> tuple[type[Exception], ...]:
        """What is raised where the tracking server cannot be reached or does not answer."""
        mlflow = self._mlflow()
        from sqlalchemy.exc import SQLAlchemyError

        return (mlflow.exceptions.MlflowException, SQLAlchemyError, OSError)

    def is_away(self, error: Exception) -> bool:
        """Whether one of these errors says that the server is not there, and not what it thinks of a request."""
        mlflow = self._mlflow()
        return not isinstance(error, mlflow.exceptions.MlflowException) or isinstance(error.__context__, OSError)

    def failure(self, error: Exception) -> str:
        """What one of these errors says, without a full stop."""
        if isinstance(error, ConnectionError) or isinstance(error.__context__, OSError):
            return f"the tracking server {self.address} cannot be reached"
        first = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        return f"the tracking server {self.address} did not take the model: {first.replace(self.uri, self.address)}"

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """A block of requests.

        Raises:
            ConnectionError: the tracking server cannot be reached.
        """
        mlflow = self._mlflow()
        try:
            yield
        except mlflow.exceptions.MlflowException as error:
            if isinstance(error.__context__, OSError):
                raise ConnectionError(f"{self.failure(error)}; start it, and run again.") from error
            raise

    def _mlflow(self) -> Any:
        mlflow = import_mlflow()
        if self.uri.startswith(SQLITE):
            with _MAKING:
                _make_database(Path(self.uri.removeprefix(SQLITE)), self.artifacts)
        mlflow.set_tracking_uri(self.uri)
        return mlflow


def is_server(address: str) -> bool:
    """Whether an address is that of a tracking server, and not of a database."""
    return address.startswith("http")


def without_login(address: str) -> str:
    """An address without a name and a password."""
    login, at, _ = urlsplit(address).netloc.rpartition("@")
    return address.replace(f"{login}{at}", "", 1)


def import_mlflow() -> Any:
    """MLflow, told before it is imported what it shall not do unless someone has said so: tell its makers, or wait."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # whose lines would stand among the JSON
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # for 7, its default, a run would hang minutes
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return mlflow


def import_registry() -> None:
    """Import MLflow with what keeps its registry: a database, unless it is a server."""
    import_mlflow()
    if not is_server(os.environ.get("MLFLOW_TRACKING_URI", "")):
        import_module("mlflow.store.model_registry.sqlalchemy_store")


def _make_database(file: Path, artifacts: str) -> None:
    """Make MLflow's database, whole or not at all: MLflow cannot mend one that was left half-made, or made by two.

    It is made in memory: by all of MLflow's migrations from the first on, of which each would wait for the disk.
    """
    if file.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{uuid4()}")
    engine = SqlAlchemyStore("sqlite://", artifacts).engine
    try:
        with closing(sqlite3.connect(unfinished)) as database, engine.connect() as made:
            made.connection.driver_connection.backup(database)
        engine.dispose()
        with suppress(FileExistsError):  # another process was first
            os.link(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)
