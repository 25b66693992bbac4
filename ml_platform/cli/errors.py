"""Errors for people on the command line: one sentence and the fix, and an exit code that is not zero."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ml_platform.errors import UserError


@contextmanager
def told() -> Iterator[None]:
    """Print a UserError, or that a server cannot be reached, as its sentence on standard error and exit with 2."""
    try:
        yield
    except (UserError, ConnectionError) as error:
        typer.echo(f"ml-platform: {error}", err=True)
        raise typer.Exit(2) from None
