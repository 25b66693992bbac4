"""The command `ml-platform why`: why a partition is as it is, and what a run would do."""

from typing import Annotated

import typer

from ml_platform.cli.errors import told
from ml_platform.cli.project import open_project
from ml_platform.cli.target import target
from ml_platform.components.use_case import stage_definitions
from ml_platform.stages.history import explain


def why(
    asset: Annotated[str, typer.Argument(help="The asset, as NAME/STAGE.")],
    partition: Annotated[str | None, typer.Argument(help="The partition; by default the newest published.")] = None,
) -> None:
    """Say why a partition was computed, skipped or refused, and what a run would do now."""
    with told():
        project = open_project()
        name, stage, key = target(project, asset, partition)
        work = project.work(name)
        stages = [one for step in stage_definitions(work.use_case).values() for one in step]
        definition = next(one for one in stages if stage in one.assets)
        typer.echo(f"{name}/{definition.name}" + (f" {key}" if key else ""))
        for sentence in explain(work, definition, key):
            typer.echo(f"  {sentence}")
