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
    mlflow, dagster = (str(Path(sys.executable).with_name(command)) for command in ("mlflow", "dagster"))
    store = f"sqlite:///{settings['ML_PLATFORM_HOME']}/mlflow.db"
    typer.echo(f"The models and runs in MLflow: {mlflow} ui --backend-store-uri {store}")
    arguments = [dagster, "dev", "-w", "workspace.yaml", "-h", HOST, "-p", str(port)]
    os.execve(dagster, arguments, {**os.environ, **settings})  # noqa: S606 - no shell is the point
