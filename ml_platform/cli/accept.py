"""The command `ml-platform accept`: publish a partition although a check is against it, for a time."""

import getpass
from datetime import UTC, date, datetime
from typing import Annotated

import dagster as dg
import typer

from ml_platform.cli.errors import told
from ml_platform.cli.project import open_project
from ml_platform.cli.target import target
from ml_platform.errors import UserError
from ml_platform.stages.acceptance import Acceptance
from ml_platform.stages.acceptance import accept as record


def accept(
    asset: Annotated[str, typer.Argument(help="The asset, as NAME/STAGE.")],
    partition: Annotated[str | None, typer.Argument(help="The partition, where the asset has partitions.")] = None,
    why: Annotated[str, typer.Option(help="Why it may be published all the same.")] = "",
    until: Annotated[str, typer.Option(help="The last day on which this holds, such as 2018-05-31.")] = "",
) -> None:
    """Accept a partition that a check refuses: the next run publishes it, and says who accepted it and why."""
    with told():
        project = open_project()
        name, stage, key = target(project, asset, partition)
        if project.partitions(dg.AssetKey([name, stage])) is not None and partition is None:
            raise UserError("say which partition is accepted.")
        if not why.strip():
            raise UserError('say why it may be published: --why "...".')
        acceptance = Acceptance(
            stage, key, why.strip(), _day(until), getpass.getuser(), datetime.now(UTC).replace(tzinfo=None)
        )
        record(project.work(name).lake, name, acceptance)
    typer.echo(f"{asset} {key or ''} is {acceptance}. Run it again to publish it.".replace("  ", " "))


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UserError("say until when this holds: --until 2018-05-31.") from None
    if day < datetime.now(UTC).date():
        raise UserError(f"{day} is over; give a later --until.")
    return day
