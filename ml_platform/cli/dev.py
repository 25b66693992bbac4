"""The command `ml-platform dev`: the Dagster UI with the daemon, on the loopback interface."""

import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from ml_platform.cli.errors import told
from ml_platform.cli.project import environment, project_folder
from ml_platform.errors import UserError
from ml_platform.resources.mlflow_server import is_server, without_login

HOST = "127.0.0.1"


def dev(port: Annotated[int, typer.Option(help="The port of the UI.")] = 3000) -> None:
    """Open the Dagster UI, with the daemon, on 127.0.0.1."""
    with told():
        folder = project_folder()
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                raise UserError(f"port {port} is in use; give another one with --port.")
    os.chdir(folder)
    settings = {"DAGSTER_WEBSERVER_URL": f"http://{HOST}:{port}", **environment(folder)}
    typer.echo(f"The models and runs in MLflow: {_mlflow_ui(settings['ML_PLATFORM_HOME'])}")
    dagster = _command("dagster")
    arguments = [dagster, "dev", "-w", "workspace.yaml", "-h", HOST, "-p", str(port)]
    os.execve(dagster, arguments, {**os.environ, **settings})  # noqa: S606 - no shell is the point


def _mlflow_ui(home: str) -> str:
    """Where MLflow's UI is, or the command that opens it, which names an address with a password by its variable."""
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    if is_server(given):
        return without_login(given)
    store = '"$MLFLOW_TRACKING_URI"' if given else f"sqlite:///{home}/mlflow.db"
    return f"{_command('mlflow')} ui --backend-store-uri {store}"


def _command(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
