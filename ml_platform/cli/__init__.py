"""The command `ml-platform`: one module a command, all on the same assets, gates and event log as the UI."""

import typer

from ml_platform.cli.accept import accept
from ml_platform.cli.alerts import alerts
from ml_platform.cli.compare import compare
from ml_platform.cli.demo import demo
from ml_platform.cli.dev import dev
from ml_platform.cli.diagram import diagram
from ml_platform.cli.evidence import evidence
from ml_platform.cli.history import history
from ml_platform.cli.init import init
from ml_platform.cli.metrics import metrics
from ml_platform.cli.promote import promote
from ml_platform.cli.reference import reference
from ml_platform.cli.reproduce import reproduce
from ml_platform.cli.rollback import rollback
from ml_platform.cli.run import run
from ml_platform.cli.status import status
from ml_platform.cli.trace import trace
from ml_platform.cli.why import why

app = typer.Typer(
    name="ml-platform",
    help="Run use cases and see how they stand.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    *(demo, init, run, status, alerts, why, accept),
    *(promote, rollback, history, compare, trace, reproduce),
    *(dev, metrics, evidence, diagram, reference),
):
    app.command()(command)
