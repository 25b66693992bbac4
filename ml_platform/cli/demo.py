"""The command `ml-platform demo`: the shipped use case on simulated payments."""

from time import monotonic
from typing import Annotated

import typer

from ml_platform.cli.errors import told
from ml_platform.cli.project import open_project
from ml_platform.cli.run import run_use_case
from ml_platform.cli.summary import print_json, print_summary

USE_CASE, FIRST, LAST = "card_fraud", "2018-04-01", "2018-05-01"
NEXT = """
Next:
  make dev                                                        the same in the Dagster UI, with its history
  .venv/bin/ml-platform run card_fraud --to 2018-06-12 --backtest more days, and a model at every weekly cutoff
  edit ml_platform/defs/card_fraud/defs.yaml                      another estimator, a stricter gate, your own files
"""


def demo(as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False) -> None:
    """Run the shipped use case on simulated card payments, from raw data to champion and predictions."""
    begin = monotonic()
    with told():
        project = open_project()
        succeeded, outcome = run_use_case(project, USE_CASE, FIRST, LAST, quiet=as_json)
        (print_json if as_json else print_summary)(USE_CASE, outcome)
    if not as_json:
        typer.echo(f"\n{monotonic() - begin:.1f} seconds.{NEXT}")
    raise typer.Exit(0 if succeeded else 1)
