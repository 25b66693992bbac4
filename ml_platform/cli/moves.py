"""Moves of the champion on the command line: what they work with, and how they are shown."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from ml_platform.cli.errors import told
from ml_platform.resources.registry_process import AskedRegistry, RegistryProcess

if TYPE_CHECKING:
    from ml_platform.stages.book import Entry
    from ml_platform.stages.work import Work


@contextmanager
def moving(name: str) -> Iterator["Work"]:
    """What a use case has stored, for a move of its champion, which shall take effect at once.

    Errors for people are told.
    """
    with told(), RegistryProcess() as process:
        # here, so that Dagster is imported while the process imports MLflow
        from ml_platform.cli.project import open_project
        from ml_platform.cli.target import use_case_target

        work = use_case_target(open_project(), name)
        yield replace(work, asked=AskedRegistry(work.tracking, process))


def answer(work: "Work", entry: "Entry", *, as_json: bool) -> None:
    """Print a move that was made, and note that it was."""
    from ml_platform.stages.ledger import answered
    from ml_platform.versions.moves import shown

    before = f", after version {entry.from_version}" if entry.from_version not in {None, entry.version} else ""
    held = f", until {entry.until} whatever comes" if entry.until else ""
    typer.echo(json.dumps(shown(entry)) if as_json else f"Version {entry.version} is champion now{before}{held}.")
    answered(work, entry)
