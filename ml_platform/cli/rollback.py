"""The command `ml-platform rollback`: make the version before champion again, at once."""

from typing import Annotated

import typer

from ml_platform.cli.moves import answer, moving


def rollback(
    name: Annotated[str, typer.Argument(help="The use case.")],
    to: Annotated[
        int | None,
        typer.Option(help="The version; by default the last champion that was not rolled back from."),
    ] = None,
    why: Annotated[str, typer.Option(help="Why, for the ledger.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Make an earlier version champion again; the one that is left does not come back by itself."""
    with moving(name) as work:
        from ml_platform.versions.moves import rollback as move

        answer(work, move(work, to, why), as_json=as_json)
