"""The command `ml-platform status`: each use case and stage, what is published and which checks are red."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import dagster as dg
import typer
from rich.console import Console
from rich.table import Table

from ml_platform.cli.errors import told
from ml_platform.cli.project import Project, open_project
from ml_platform.partitions import span
from ml_platform.use_case import STAGES


def status(
    name: Annotated[str | None, typer.Argument(help="The use case; by default all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show what is published of each stage, its newest partition and its red checks."""
    with told():
        project = open_project()
        if name:
            project.check_use_case(name)
        rows = [
            _stage(project, use_case, stage)
            for use_case in ([name] if name else project.use_cases())
            for stage in STAGES
        ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    console = Console()
    for use_case in dict.fromkeys(row["use_case"] for row in rows):
        console.print(_table(use_case, [row for row in rows if row["use_case"] == use_case]))


def _table(use_case: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(
        "stage", "published", "newest", "materialized (UTC)", "red checks", title=use_case, title_justify="left"
    )
    for row in rows:
        published = f"{row['published']} of {row['partitions']}" if row["partitions"] else ""
        table.add_row(
            row["stage"], published, row["newest"], row["materialized_at"] or "never", "\n".join(row["red_checks"])
        )
    return table


def _stage(project: Project, use_case: str, stage: str) -> dict[str, Any]:
    key = dg.AssetKey([use_case, stage])
    definition = project.partitions(key)
    last = project.instance.get_latest_materialization_event(key)
    published = sorted(project.instance.get_materialized_partitions(key)) if definition else []
    return {
        "use_case": use_case,
        "stage": stage,
        "partitions": len(definition.get_partition_keys()) if definition else None,
        "published": len(published) if definition else None,
        "newest": published[-1] if published else None,
        "materialized_at": f"{datetime.fromtimestamp(last.timestamp, UTC):%Y-%m-%d %H:%M}" if last else None,
        "red_checks": _red_checks(project, key),
    }


def _red_checks(project: Project, key: dg.AssetKey) -> list[str]:
    """The checks whose newest verdict on a partition is a failure, with the partitions that it concerns."""
    checks = [check for check in project.definitions.resolve_asset_graph().asset_check_keys if check.asset_key == key]
    red: dict[str, list[str]] = {}
    for one in project.instance.event_log_storage.get_asset_check_partition_info(checks):
        if one.latest_execution_status.value == "FAILED":
            red.setdefault(one.check_key.name, []).append(one.partition_key or "")
    return [f"{name} {span(sorted(partitions))}".strip() for name, partitions in sorted(red.items())]
