"""The command `ml-platform rollback`: make the version before champion again, at once."""

from typing import Annotated

import typer

from ml_platform.cli.errors import told
from ml_platform.cli.moves import print_entry
from ml_platform.cli.project import open_project
from ml_platform.cli.target import use_case_target
from ml_platform.versions.moves import rollback as move


def rollback(
    name: Annotated[str, typer.Argument(help="The use case.")],
    to: Annotated[int | None, typer.Option(help="The version; by default the one that the champion replaced.")] = None,
    why: Annotated[str, typer.Option(help="Why, for the ledger.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Make an earlier version champion again; the one that is left does not come back by itself."""
    with told():
        print_entry(move(use_case_target(open_project(), name), to, why), as_json=as_json)
