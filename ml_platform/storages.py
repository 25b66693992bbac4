"""Dagster's SQLite storages of runs and of schedules, which open a file once, and do not read how it came about.

Dagster 1.13 loads the scripts of all its migrations whenever it opens one of its files, and needs them only for a new
one. Then it opens and closes the file for each question, which takes seven times as long as the question. Four tenths
of a second together in each run. Drop this when Dagster does without.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self
from weakref import finalize

import dagster as dg
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS, create_db_conn_string
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, create_engine

REVISION = "SELECT version_num FROM alembic_version"


class _Prompt:
    """A file of the instance's folder, made by Dagster's own class if need be, with connections that stay open."""

    DAGSTERS: ClassVar[type[SqliteRunStorage | SqliteScheduleStorage]]
    FOLDER: ClassVar[str]
    NAME: ClassVar[str]

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Nothing: the file lies in the instance's folder."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, _: Mapping[str, Any]) -> Self:
        """The storage, as a configuration names it."""
        return cls("", inst_data)  # type: ignore[call-arg]

    def register_instance(self, instance: dg.DagsterInstance) -> None:
        """Store in the instance's folder."""
        folder = Path(instance.root_directory, self.FOLDER)
        if not is_made(folder / f"{self.NAME}.db"):
            self.DAGSTERS.from_local(str(folder))
        self._conn_string = create_db_conn_string(str(folder), self.NAME)
        # without a limit: threads of the web server must not wait for one another
        arguments = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
        self._engine = create_engine(self._conn_string, connect_args=arguments, max_overflow=-1)
        finalize(self, self._engine.dispose)  # SQLite tidies up beside a file when the last one closes it
        super().register_instance(instance)  # type: ignore[misc]

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection in a transaction."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    def dispose(self) -> None:
        """Close what is open."""
        super().dispose()  # type: ignore[misc]
        self._engine.dispose()


class PromptSqliteRunStorage(_Prompt, SqliteRunStorage):
    """Dagster's storage of runs."""

    DAGSTERS, FOLDER, NAME = SqliteRunStorage, "history", "runs"


class PromptSqliteScheduleStorage(_Prompt, SqliteScheduleStorage):
    """Dagster's storage of schedules and sensors."""

    DAGSTERS, FOLDER, NAME = SqliteScheduleStorage, "schedules", "schedules"


def is_made(file: Path) -> bool:
    """Whether Dagster has made the tables of a file."""
    if not file.exists():
        return False
    with closing(sqlite3.connect(file, SQLITE_BUSY_TIMEOUT_SECONDS)) as database:
        return revision_of(database) is not None


def revision_of(database: sqlite3.Connection) -> str | None:
    """The revision of a file, which Dagster writes with the last of its tables; None before that."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
        return None
    (revision,) = database.execute(REVISION).fetchone() or (None,)
    return revision
