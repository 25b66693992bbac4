"""The command `ml-platform status`: how each use case stands, on one screen."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from ml_platform.cli.errors import told
from ml_platform.cli.project import open_project
from ml_platform.cli.standing import Champion, Decision, Standing, standing

MOST_TOLD = 4


def status(
    name: Annotated[str | None, typer.Argument(help="The use case; by default all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it, stage by stage, as JSON.")] = False,
) -> None:
    """Show how use cases stand: what is published and what is late, red checks, incidents, last gates, champion."""
    with told():
        project = open_project()
        if name:
            project.check_use_case(name)
        found = [standing(project, one) for one in ([name] if name else project.use_cases())]
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found]))
        return
    console = Console()
    for one in found:
        console.print(f"[bold]{one.use_case}[/]  {_champion(one)}")
        console.print(_steps(one))
        if one.decision is not None:
            console.print(Padding(_decision(one.decision, one.champion), (0, 1)))
        red = [f"{step.name}: {check}" for step in one.steps for check in step.red_checks]
        for mark, lines in (("✗", red), ("!", one.incidents)):
            for line in _first(lines):
                console.print(f" [red]{mark}[/] {escape(line)}", no_wrap=True, overflow="ellipsis")
        console.print()


def _champion(one: Standing) -> str:
    champion = one.champion
    if champion is None:
        return "no champion"
    held = f", held until {champion.until}" if champion.until else ""
    metrics = "".join(f", {name} {value:.4f}" for name, value in champion.metrics.items())
    cutoff = f" of {champion.cutoff}" if champion.cutoff else ""
    return f"champion is version {champion.version}{cutoff} since {champion.since} UTC{held}{metrics}"


def _steps(one: Standing) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for column in ("step", "newest", "expected", "published"):
        table.add_column(column, no_wrap=True)
    for column in ("late", "gaps", "red"):
        table.add_column(column, no_wrap=True, justify="right")
    table.add_column("made (UTC)", no_wrap=True)
    for step in one.steps:
        of = f"{step.published}/{step.partitions}" if step.partitions is not None else ""
        made = step.materialized_at[5:] if step.materialized_at else "never"
        counts = (f"[red]{count}[/]" if count else "-" for count in (step.late, step.gaps, len(step.red_checks)))
        table.add_row(step.name, step.newest or "-", step.expected or "-", of, *counts, made)
    return table


def _first(lines: list[str]) -> list[str]:
    """The first of many lines, with the number of the others."""
    return lines if len(lines) <= MOST_TOLD else [*lines[:MOST_TOLD], f"{len(lines) - MOST_TOLD} more; see --json"]


def _decision(decision: Decision, champion: Champion | None) -> str:
    gates = "".join(f"  {'[red]✗[/]' if failed else '[green]✓[/]'}{name}" for name, failed in decision.gates.items())
    word = "promoted" if decision.promoted else f"not promoted: {escape(decision.reason)}"
    if not decision.promoted and champion and champion.version == decision.version:
        word = "stays champion"
    return f"version {decision.version} {word}{gates}"
