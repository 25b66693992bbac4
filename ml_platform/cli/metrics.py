"""The command `ml-platform metrics`: the metrics for Prometheus, the dashboard for Grafana, the rules for alerts."""

from typing import Annotated

import typer

from ml_platform.cli.dev import HOST
from ml_platform.cli.errors import told
from ml_platform.cli.project import open_project
from ml_platform.errors import UserError


def metrics(
    port: Annotated[int, typer.Option(help="The port of `/metrics`, on 127.0.0.1.")] = 9464,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Print the Grafana dashboard instead.")] = False,
    rules: Annotated[bool, typer.Option("--rules", help="Print the rules for Prometheus's alerts instead.")] = False,
) -> None:
    """Serve what Prometheus scrapes: runs, stages, checks, freshness, models and drift, from the instance's storage."""
    from ml_platform.exporter import dashboard as grafana
    from ml_platform.exporter import rules as prometheus
    from ml_platform.exporter.readings import readings
    from ml_platform.exporter.server import serve

    if dashboard or rules:
        typer.echo(grafana.dashboard() if dashboard else prometheus.rules_file())
        return
    with told():
        project = open_project()
        graph, instance = project.definitions.resolve_asset_graph(), project.instance
        try:
            _, thread = serve(lambda: readings(instance, graph, project.lake), HOST, port)
        except OSError as error:
            raise UserError(f"port {port} cannot be used: {error.strerror}; give another one with --port.") from error
        typer.echo(f"Metrics for Prometheus on http://{HOST}:{port}/metrics")
        thread.join()
