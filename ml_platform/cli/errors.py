"""Errors for people on the command line: one sentence and the fix, and an exit code that is not zero."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import typer

from ml_platform.errors import UserError

DATABASE = "a database cannot be used", "those of MLflow and Dagster, by default in .ml_platform, and at the disk"
MODEL = "a stored model cannot be read", "the artifacts of its run in MLflow"
# by the names of their classes: whoever has raised one of them has imported its library, and others need not
STORES: Mapping[str, tuple[str, str]] = {
    "builtins.OSError": ("a file cannot be used", "the file, its rights and the disk"),
    "zipfile.BadZipFile": MODEL,
    "sqlite3.Error": DATABASE,
    "sqlalchemy.exc.DBAPIError": DATABASE,
    "_internal.DeltaError": ("a table of the lake cannot be used", "its folder, its rights and the disk"),
    "mlflow.exceptions.MlflowException": ("MLflow cannot do it", "its database or server, and at the run's artifacts"),
}
SHORTAGES = {"resources": "the space on the disk and the memory", "transient": "what else uses it at this moment"}
_LOGIN = re.compile(r"(?<=//)[^/@\s]+@")


@contextmanager
def told() -> Iterator[None]:
    """Print a UserError, or that a file, a database or a server cannot be used, as its sentence and exit with 2.

    It is printed on standard error. The error of a program keeps its stack trace.
    """
    try:
        yield
    except Exception as error:
        sentence = str(error) if isinstance(error, UserError | ConnectionError) else _of_a_store(error)
        if sentence is None:
            raise
        typer.echo(f"ml-platform: {sentence}", err=True)
        raise typer.Exit(2) from None


def _of_a_store(error: Exception) -> str | None:
    """What an error of a file, a database or a store says, and where to look, as a sentence; None of any other."""
    names = [f"{one.__module__}.{one.__name__}" for one in type(error).__mro__]
    found = next((STORES[name] for name in names if name in STORES), None)
    if found is None or names[0] == "sqlite3.ProgrammingError":  # such as the use of a database that was closed
        return None
    from ml_platform.resources.model_files import DESCRIPTION_FILE, MODEL_FILE
    from ml_platform.stages.failures import MOST_TOLD, failure_class

    what, place = found
    said = str(error)
    if isinstance(error, FileNotFoundError):
        name = Path(str(error.filename)).name
        if name in {DESCRIPTION_FILE, MODEL_FILE}:  # of a copy of it, whose folder is gone with the error
            (what, place), said = MODEL, f"it has no file {name}"
    first = (said.strip().splitlines() or [type(error).__name__])[0]
    place = SHORTAGES.get(failure_class(error), place)
    return f"{what}: {_LOGIN.sub('', first)[:MOST_TOLD].rstrip('.;: ')}; look at {place}, and run again."
