"""The command `ml-platform trace`: where a registered version comes from."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_platform.cli.errors import told
from ml_platform.cli.project import open_project
from ml_platform.cli.target import version_target
from ml_platform.partitions import span

SHOWN = 12
MOVE = ("at", "event", "version", "by", "why")


def trace(
    version: Annotated[str, typer.Argument(help="The version, as NAME@VERSION.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
) -> None:
    """Show what a version was made of: data, code, parameters, environment, runs, and its moves."""
    from ml_platform.versions.trace import trace as traced

    with told():
        found = traced(*version_target(open_project(), version))
    if as_json:
        typer.echo(json.dumps(found))
        return
    console = Console()
    for part, value in found.items():
        if isinstance(value, dict | list):
            console.print(_table(part, value))
        else:
            console.print(f"[bold]{part}[/]  {escape(str(value))}")


def _table(part: str, value: dict[str, Any] | list[dict[str, Any]]) -> Table:
    """A part of the trace, shortened to what fits on a screen."""
    if isinstance(value, list):
        table = Table(*MOVE, title=part, title_justify="left")
        for one in value:
            table.add_row(*(escape(str(one[column] or "none")) for column in MOVE))
        return table
    keys = list(value)
    title = part if not _is_by_partition(value) else f"{part} {span(keys)}"
    table = Table("", "", title=title, title_justify="left", show_header=False)
    for key in keys[:SHOWN]:
        one = value[key]
        words = "  ".join(f"{name} {what}" for name, what in one.items()) if isinstance(one, dict) else f"{one}"
        table.add_row(escape(key), escape(words))
    if len(keys) > SHOWN:
        table.add_row("...", f"{len(keys) - SHOWN} more; --json has all of them")
    return table


def _is_by_partition(value: dict[str, Any]) -> bool:
    return any(isinstance(one, dict) for one in value.values())
