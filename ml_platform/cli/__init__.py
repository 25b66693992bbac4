"""The command `ml-platform`: one module a command, all on the same assets, gates and event log as the UI."""

import typer

from ml_platform.cli.accept import accept
from ml_platform.cli.demo import demo
from ml_platform.cli.dev import dev
from ml_platform.cli.reference import reference
from ml_platform.cli.run import run
from ml_platform.cli.status import status
from ml_platform.cli.why import why

app = typer.Typer(
    name="ml-platform",
    help="Run use cases and see how they stand.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (demo, run, status, why, accept, dev, reference):
    app.command()(command)
