"""Errors for people: one sentence and the fix, and an exit code that is not zero."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer


class UserError(Exception):
    """Something the person at the command line can mend; the message says what and how."""


@contextmanager
def told() -> Iterator[None]:
    """Print a UserError as its sentence on standard error and exit with 2."""
    try:
        yield
    except UserError as error:
        typer.echo(f"ml-platform: {error}", err=True)
        raise typer.Exit(2) from None
