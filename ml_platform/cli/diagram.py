"""The command `ml-platform diagram`: the pipeline of a use case, drawn from its definitions."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import typer

from ml_platform.cli.drawing import Graph, Node, mermaid, svg
from ml_platform.cli.errors import told
from ml_platform.cli.project import Project, open_project
from ml_platform.components.use_case import stage_definitions
from ml_platform.errors import UserError
from ml_platform.use_case import UseCase
from ml_platform.use_case.words import MODEL

FORMATS: Mapping[str, Callable[[Graph], str]] = {"mermaid": mermaid, "svg": svg}
SOURCE = "source"


def diagram(
    name: Annotated[str | None, typer.Argument(help="The use case; may be left out if there is only one.")] = None,
    as_format: Annotated[
        Literal["mermaid", "svg"], typer.Option("--format", help="Text that GitHub draws, or a picture.")
    ] = "mermaid",
) -> None:
    """Draw the pipeline of a use case: its assets, what they are made of, their checks and steps."""
    with told():
        project = open_project()
        known = project.use_cases()
        if name is None and len(known) != 1:
            raise UserError(f"say which use case: {', '.join(known)}.")
        typer.echo(FORMATS[as_format](graph_of(project, name or known[0])))


def graph_of(project: Project, name: str) -> Graph:
    """The pipeline of a use case as it is defined.

    Raises:
        UserError: there is no such use case.
    """
    project.check_use_case(name)
    use_case, assets = project.use_case(name), project.definitions.resolve_asset_graph()
    steps = {
        str(asset): step
        for step, stages in stage_definitions(use_case).items()
        for stage in stages
        for asset in stage.assets
    }
    checks = [check.asset_key for check in assets.asset_check_keys]
    nodes = {SOURCE: Node(use_case.source.type, [])}
    for key in assets.toposorted_asset_keys:
        if key.path[0] == name:
            word = key.path[-1]
            parents = sorted(parent.path[-1] for parent in assets.get(key).parent_keys if parent.path[0] == name)
            notes = [_cadence(use_case, word) if assets.get(key).is_partitioned else "", _number(checks.count(key))]
            nodes[word] = Node(" · ".join(note for note in notes if note), parents or [SOURCE], steps.get(word))
    return Graph(f"The pipeline of {name}", nodes)


def _cadence(use_case: UseCase, word: str) -> str:
    assert use_case.windows is not None
    return f"each {use_case.model.every if word in MODEL else use_case.windows.every}"


def _number(checks: int) -> str:
    return f"{checks} check{'s' if checks > 1 else ''}" if checks else ""
