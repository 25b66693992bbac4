"""The command `ml-platform compare`: two registered versions side by side, and on the same rows."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from ml_platform.cli.errors import told
from ml_platform.cli.project import open_project
from ml_platform.cli.target import use_case_target
from ml_platform.errors import UserError
from ml_platform.resources.tracking import RunRecord

if TYPE_CHECKING:
    from ml_platform.versions.compare import Comparison


def compare(
    name: Annotated[str, typer.Argument(help="The use case.")],
    left: Annotated[int, typer.Argument(help="A version.")],
    right: Annotated[int, typer.Argument(help="The version to compare it with.")],
    html: Annotated[Path | None, typer.Option(help="Write both side by side to this HTML file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Compare two versions: what each reached on its own hold-out, and both on rows that neither was trained on."""
    from ml_platform.versions.compare import compare as compared
    from ml_platform.versions.compare import page

    with told():
        work = use_case_target(open_project(), name)
        found = compared(work, work.version(left), work.version(right))
        runs = [work.tracking.run_of(version.run_id) for version in (found.left, found.right)]
        if html is not None:
            _write(html, page(work, found))
    if as_json:
        typer.echo(json.dumps({**asdict(found), "runs": [asdict(run) for run in runs]}))
    else:
        Console().print(_table(name, found, runs))
        if html is not None:
            typer.echo(f"{html} has both side by side.")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--html {file} cannot be written: {error.strerror}.") from None


def _table(name: str, found: "Comparison", runs: list[RunRecord]) -> Table:
    numbers = [found.left.number, found.right.number]
    table = Table(
        "metric",
        *(f"version {number}" for number in numbers),
        "difference",
        "95 % interval",
        title=f"{name}: each on its own hold-out, and the difference on {found.rows:,} rows of that of version "
        f"{found.hold_out_of}",
        title_justify="left",
    )
    for column in table.columns:
        column.no_wrap = True
    for metric in dict.fromkeys(name for run in runs for name in run.metrics):
        own = (f"{run.metrics[metric]:.4f}" if metric in run.metrics else "-" for run in runs)
        one = found.differences.get(metric)
        table.add_row(
            metric, *own, *((f"{one.point:+.4f}", f"{one.low:+.4f} to {one.high:+.4f}") if one else ("-", "-"))
        )
    return table
