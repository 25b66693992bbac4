"""The command `ml-platform alerts`: which incidents go on and who was told, and whether the channels work."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_platform.alerts.incidents import Incident, open_incidents
from ml_platform.alerts.messages import shown, what
from ml_platform.cli.errors import told
from ml_platform.cli.project import Project, open_project
from ml_platform.resources.alerting import Message


def alerts(
    name: Annotated[str | None, typer.Argument(help="The use case; by default all.")] = None,
    test: Annotated[
        bool, typer.Option("--test", help="Send a message to every channel, and say which took it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show the incidents that go on: since when, how bad, what, which partitions, and who was told."""
    with told():
        project = open_project()
        if name:
            project.check_use_case(name)
    use_cases = [name] if name else project.use_cases()
    if test:
        _test(project, use_cases, as_json=as_json)
        return
    incidents = open_incidents(project.lake, name)
    if as_json:
        typer.echo(json.dumps([_row(one) for one in incidents]))
    elif not incidents:
        typer.echo("Nothing is wrong that alerts know of.")
    else:
        Console().print(_table(incidents))


def _test(project: Project, use_cases: list[str], *, as_json: bool) -> None:
    """Send a message to every channel; exit with 1 if one does not take it."""
    channels = [project.work(name).use_case.alerts.channels for name in use_cases]
    found = {variable: channel for one in channels for channel, variable in one.items()}
    message = Message(
        "test", "ml-platform: a test", "This channel is told what goes wrong. Nothing is wrong now.", "info"
    )
    problems = {
        variable: project.alerts.send(variable, message) if project.alerts.has(variable) else "it is not set"
        for variable in found
    }
    if as_json:
        rows = [{"channel": found[one], "variable": one, "problem": problem} for one, problem in problems.items()]
        typer.echo(json.dumps(rows))
    else:
        for one, problem in problems.items():
            typer.echo(f"{found[one]} ({one}): {problem or 'sent'}")
        if not problems:
            typer.echo("No channel is configured, so alerts are shown on the console of ml-platform dev.")
    if any(problems.values()):
        raise typer.Exit(1)


def _row(incident: Incident) -> dict[str, Any]:
    row: dict[str, Any] = incident.model_dump(
        mode="json", include={"id", "since", "severity", "kind", "use_case", "partitions", "why", "examples", "run_id"}
    )
    return {**row, "what": what(incident), "told": sorted(incident.told)}


def _table(incidents: list[Incident]) -> Table:
    table = Table("since (UTC)", "severity", "what", "partitions", "told")
    table.columns[0].no_wrap = True
    for one in incidents:
        said = f"{one.use_case}: {what(one)}: {one.why}".removeprefix(": ")
        cells = (one.severity, said, shown(one.partitions), ", ".join(sorted(one.told)))
        table.add_row(f"{one.since:%Y-%m-%d %H:%M}", *map(escape, cells))
    return table
