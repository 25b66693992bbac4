"""The command `ml-platform reproduce`: train a version again from what was recorded, and compare its predictions."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from ml_platform.cli.errors import told
from ml_platform.cli.project import open_project
from ml_platform.cli.target import version_target


def reproduce(
    version: Annotated[str, typer.Argument(help="The version, as NAME@VERSION.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Train a version again from the recorded data, parameters and seed: are its predictions the same?"""
    from ml_platform.versions.reproduce import reproduce as again

    with told():
        found = again(*version_target(open_project(), version))
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        word = "" if found.equal else "not "
        recorded = "" if found.recorded == found.found else f", recorded is {found.recorded[:16]}"
        typer.echo(
            f"{version} is {word}reproduced: {found.rows:,} predictions have the hash {found.found[:16]}{recorded}."
        )
        for difference in found.differences:
            typer.echo(f"  {difference}")
    raise typer.Exit(0 if found.equal else 1)
