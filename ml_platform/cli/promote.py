"""The command `ml-platform promote`: make a version champion by hand, whatever its gates say."""

from typing import Annotated

import typer

from ml_platform.cli.moves import answer, moving


def promote(
    name: Annotated[str, typer.Argument(help="The use case.")],
    version: Annotated[int, typer.Argument(help="The version that shall be champion.")],
    why: Annotated[str, typer.Option(help="Why, for the ledger.")] = "",
    until: Annotated[
        str, typer.Option(help="The last day on which no other model takes its place by itself, such as 2018-05-31.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Make a version champion by hand, whatever its gates say; the ledger keeps who did it and why."""
    with moving(name) as work:
        from ml_platform.versions.moves import day
        from ml_platform.versions.moves import promote as move

        answer(work, move(work, version, why, day(until, "--until") if until else None), as_json=as_json)
