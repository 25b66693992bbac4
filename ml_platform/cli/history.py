"""The command `ml-platform history`: which version was champion when, and why."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_platform.cli.errors import told
from ml_platform.cli.project import open_project
from ml_platform.cli.target import use_case_target
from ml_platform.stages.book import Entry
from ml_platform.versions import moves


def history(
    name: Annotated[str, typer.Argument(help="The use case.")],
    as_of: Annotated[str, typer.Option(help="Only who was champion at the end of this day, such as 2018-05-31.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show the ledger: which version was champion when, who or what put it there, and why."""
    with told():
        work = use_case_target(open_project(), name)
        entries = moves.history(work, moves.day(as_of, "--as-of") if as_of else None)
    if as_json:
        typer.echo(json.dumps([moves.shown(entry) for entry in entries]))
    elif not entries:
        typer.echo(f"{name} had no champion" + (f" on {as_of}." if as_of else " so far."))
    else:
        Console().print(_table(name, entries))


def _table(name: str, entries: list[Entry]) -> Table:
    table = Table("at (UTC)", "champion", "before", "how", "by", "why", title=name, title_justify="left")
    for column in table.columns[:-1]:
        column.no_wrap = True
    for one in entries:
        until = f" (until {one.until})" if one.until else ""
        numbers = (str(number or "none") for number in (one.version, one.from_version))
        table.add_row(
            f"{one.at:%Y-%m-%d %H:%M}", *numbers, one.event.replace("_", " "), escape(one.by), escape(one.why + until)
        )
    return table
