"""The command `ml-platform init`: a use case drafted from data of a person's own, with its dangers told before."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_platform.cli.errors import told
from ml_platform.cli.project import project_folder
from ml_platform.errors import UserError
from ml_platform.onboarding.plan import Choices
from ml_platform.onboarding.project_files import place_of, write
from ml_platform.references import did_you_mean

GUIDE, GATES = "docs/your_own_data.md", "docs/gates.md"
EVERY = ("day", "week", "month", "none")


def init(
    name: Annotated[str, typer.Argument(help="The use case's name.")],
    target: Annotated[str, typer.Option(help="The column to predict, or a comparison such as 'delay >= 30'.")],
    data: Annotated[str | None, typer.Option(help="A file, a folder, a glob or an address such as s3://...")] = None,
    address_variable: Annotated[
        str | None, typer.Option(help="Instead of --data: the environment variable with a database's address.")
    ] = None,
    table: Annotated[str | None, typer.Option(help="The database's table.")] = None,
    query: Annotated[str | None, typer.Option(help="A query of the database, instead of --table.")] = None,
    time: Annotated[str | None, typer.Option(help="The column that says when a row happened.")] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="A column that names a row; may be given several times.")
    ] = None,
    entity: Annotated[str | None, typer.Option(help="The column of what several rows belong to.")] = None,
    every: Annotated[str | None, typer.Option(help="How data is cut: day, week, month or none.")] = None,
    date_format: Annotated[str | None, typer.Option(help="How dates are written, such as %d/%m/%Y.")] = None,
    project: Annotated[
        Path | None, typer.Option(help="The project's folder; a new one is made into a project.")
    ] = None,
) -> None:
    """Look at data, tell what is dangerous in it, and write the use case to begin with."""
    with told():
        if every not in {None, *EVERY}:
            raise UserError(f"--every {every} is no cadence; {did_you_mean(str(every), list(EVERY))}")
        folder = project.absolute() if project else _project_here()
        place = place_of(folder, name)
        choices = Choices(
            *(name, target, time, key or (), entity),
            every=None if every == "none" else every,  # type: ignore[arg-type]
            by_time=every != "none",
            date_format=date_format,
        )
        console = Console(highlight=False)
        with console.status("looking at the data"):
            drafted = _drafted(data, address_variable, table, query, folder, choices)
        _show(console, drafted)
        written = write(place, name, drafted.files)
    console.print("\n[bold]Written[/bold]")
    for path in written:
        console.print(f"  {escape(os.path.relpath(path))}", soft_wrap=True)
    there = "" if Path.cwd().is_relative_to(folder) else f"cd {os.path.relpath(folder)} && "
    console.print("\n[bold]Next[/bold]")
    for command, what in (
        (f"{there}ml-platform run {name}", "train, judge and predict"),
        ("ml-platform dev", "look at it in the Dagster UI"),
        ("ml-platform reference", "what each key of defs.yaml means"),
    ):
        console.print(f"  {escape(command)}  [dim]{what}[/dim]", soft_wrap=True)
    console.print(f"The way from here: {GUIDE}; when a check is red: {GATES}.", soft_wrap=True)


def _drafted(
    data: str | None, address_variable: str | None, table: str | None, query: str | None, folder: Path, choices: Choices
) -> Any:
    from ml_platform.onboarding.database import query_rows
    from ml_platform.onboarding.draft import draft
    from ml_platform.onboarding.sniffing import sniff

    if (data is None) == (address_variable is None):
        raise UserError("say where the data is: --data PATH, or --address-variable NAME with --table or --query.")
    if address_variable is not None:
        source, rows = query_rows(address_variable, table, query)
        told_of = f"{address_variable} {table or 'query'}: {rows.height:,} rows, {rows.width} columns"
        return draft(source, rows, choices, f"Drafted from {told_of}.")
    assert data is not None
    sniffed = sniff(data, _written(data, folder))
    return draft(sniffed.source, sniffed.rows, choices, f"Drafted from {sniffed}.")


def _project_here() -> Path:
    try:
        return project_folder()
    except UserError as error:
        raise UserError(f"{error} Or give a folder with --project to make one.") from error


def _written(data: str, folder: Path) -> str:
    """The path as it stands in the YAML file: relative to the project's folder where it lies there."""
    if "://" in data:
        return data
    path = Path(data).absolute()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _show(console: Console, drafted: Any) -> None:
    console.print(f"[bold]{escape(drafted.headline)}[/bold]\n", soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("column", no_wrap=True, max_width=24)
    table.add_column("type", no_wrap=True, max_width=19)
    table.add_column("missing", justify="right")
    table.add_column("different", justify="right")
    table.add_column("values", no_wrap=True, max_width=30)
    table.add_column("becomes", no_wrap=True)
    for one in drafted.profiles:
        missing = f"{one.missing:.1%}" if one.missing else ""
        cells = (one.name, one.type, missing, f"{one.distinct:,}", one.values, drafted.roles[one.name])
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)
    console.print("\n[bold]Decided[/bold]")
    decided = Table(box=None, show_header=False, pad_edge=False)
    for what, how in drafted.decisions:
        decided.add_row(f"  {what}", escape(how))
    console.print(decided)
    console.print("\n[bold]Before you train[/bold]")
    warned = Table(box=None, show_header=False, pad_edge=False)
    for danger in drafted.dangers:
        colour = "red" if danger.leaves_out else "yellow"
        sentence = f"[bold]{escape(danger.column)}[/bold] {escape(danger.evidence)}\n[dim]{escape(danger.done)}[/dim]"
        warned.add_row(f"  [{colour}]![/{colour}]", sentence)
    console.print(warned if drafted.dangers else "  nothing dangerous was found")
