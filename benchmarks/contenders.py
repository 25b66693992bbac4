"""Who is measured: the bare script, the platform's command line, the platform's web server, and Dagster as taught."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, Protocol

import polars as pl

from benchmarks.measure import Cost, command, tree, within
from benchmarks.projects import PACKAGE, USE_CASE, write_project

HERE = Path(__file__).parent
DATA_STAGES = ("raw_data", "validated_data", "features")
CHAIN_STAGES = (*DATA_STAGES, "model", "evaluation", "promotion", "predictions")
DATA_ASSETS = ("raw_data", "quarantine", "validated_data", "features")
START_SECONDS, RUN_SECONDS, POLL_SECONDS, END_SECONDS = 120.0, 3600.0, 0.1, 20.0
REST_SECONDS = 10.0  # a person's: the next run's process makes ready meanwhile
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true"}
LAUNCH = """
mutation ($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
STATUS = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"
READY = """
{
  repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } }
  instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } }
}"""


def script(name: str) -> Path:
    """A command that is installed next to this Python."""
    return Path(sys.executable).with_name(name)


@dataclass(frozen=True)
class Measured:
    """What a run cost, how many of the wanted days were run, and the seconds of its steps by name."""

    cost: Cost
    days: int
    steps: Mapping[str, float] = field(default_factory=dict)


class Contender(Protocol):
    """Someone who turns files into tables of features; each works in a folder of its own."""

    title: str

    def prepare(self, days: Sequence[date]) -> None:
        """Come to where these days are done; not measured."""

    def run(self, days: Sequence[date]) -> Measured:
        """Do some days, which follow those that are done."""


class Bare:
    """The script in polars."""

    title = "a  bare script"

    def __init__(self, folder: Path, data: Path) -> None:
        self.lake = folder / "lake"
        self._folder, self._data = folder, data
        folder.mkdir()

    def prepare(self, days: Sequence[date]) -> None:
        """Run the script on them."""
        self.run(days)

    def run(self, days: Sequence[date]) -> Measured:
        """Run the script from files to features."""
        return self._script(days)[0]

    def champion(
        self, days: Sequence[date], use_case: Path, cutoff: date, *, in_mlflow: bool
    ) -> tuple[Measured, dict[str, Any]]:
        """Run the script from files to a champion, in MLflow or in a file, and its predictions; also what it said."""
        more = ["--mlflow"] if in_mlflow else []
        return self._script(days, "--use-case", use_case, "--cutoff", str(cutoff), *more)

    def _script(self, days: Sequence[date], *more: str | Path) -> tuple[Measured, dict[str, Any]]:
        arguments = ["--data", self._data, "--lake", self.lake, "--from", str(days[0]), "--to", str(days[-1]), *more]
        cost, said = command([sys.executable, HERE / "bare.py", *arguments], self._folder, QUIET)
        document = json.loads(said)
        return Measured(cost, len(days), document["seconds"]), document


class CommandLine:
    """The platform by `ml-platform run`."""

    title = "b  command line"

    def __init__(self, folder: Path, data: Path, more: Mapping[str, object] | None = None) -> None:
        self.project = write_project(folder, data, more=more)
        self.yaml = self.project / PACKAGE / "defs" / USE_CASE / "defs.yaml"
        self.lake = folder / ".ml_platform" / "lake" / USE_CASE

    def prepare(self, days: Sequence[date]) -> None:
        """Run the stages on them."""
        self.run(days)

    def run(self, days: Sequence[date]) -> Measured:
        """Run the stages from raw data to features."""
        return self._command(days, DATA_STAGES)[0]

    def champion(self, days: Sequence[date]) -> tuple[Measured, dict[str, Any]]:
        """Run the stages to a champion and its predictions; also what the command said."""
        return self._command(days, CHAIN_STAGES)

    def rollback(self, version: int) -> Measured:
        """Make another version champion."""
        arguments = ["rollback", USE_CASE, "--to", str(version), "--why", "measured"]
        return Measured(command([script("ml-platform"), *arguments], self.project, {})[0], 0)

    def whole(self, days: Sequence[date]) -> Measured:
        """Run every stage."""
        return self._command(days)[0]

    def _command(self, days: Sequence[date], stages: Sequence[str] = ()) -> tuple[Measured, dict[str, Any]]:
        only = [word for stage in stages for word in ("--stage", stage)]
        arguments = ["run", USE_CASE, "--from", str(days[0]), "--to", str(days[-1]), *only, "--json"]
        cost, said = command([script("ml-platform"), *arguments], self.project, {})
        document = json.loads(said)
        steps = {stage: one["seconds"] for stage, one in document["stages"].items() if one["seconds"]}
        return Measured(cost, len(days), steps), document


class WebServer:
    """The platform by a run that a running web server is asked for; measured from the request until it succeeded."""

    title = "c  web server"

    def __init__(self, commands: CommandLine) -> None:
        self._commands = commands
        self.lake = commands.lake
        self._server: subprocess.Popen[bytes] | None = None
        self._port = 0

    def prepare(self, days: Sequence[date]) -> None:
        """Run the stages on the days, if there are any, and start the server with its daemon."""
        if days:
            self._commands.prepare(days)
        self.start()

    def start(self) -> None:
        """Start the server with its daemon."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._server = subprocess.Popen(
            [script("ml-platform"), "dev", "--port", str(self._port)],
            cwd=self._commands.project,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        limit = perf_counter() + START_SECONDS
        while not self._ready():
            if perf_counter() > limit or self._server.poll() is not None:
                self.close()
                raise SystemExit("the web server did not start.")
            sleep(POLL_SECONDS)

    def _ready(self) -> bool:
        try:
            said = self._ask(READY, {})
        except OSError:
            return False
        daemons = said["instance"]["daemonHealth"]["allDaemonStatuses"]
        known = [node["location"]["name"] for node in said["repositoriesOrError"].get("nodes", [])]
        return PACKAGE in known and all(one["healthy"] for one in daemons if one["required"])

    def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        body = json.dumps({"query": query, "variables": variables})
        connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        if answer.get("errors"):
            raise SystemExit(f"the web server answers {answer['errors']}.")
        data: dict[str, Any] = answer["data"]
        return data

    def run(self, days: Sequence[date]) -> Measured:
        """Launch one run of the data's stages over the days, and wait until it has succeeded."""
        if len(days) == 1:
            tags = {"dagster/partition": str(days[0])}
        else:
            edges = {"start": days[0], "end": days[-1]}
            tags = {f"dagster/asset_partition_range_{edge}": str(day) for edge, day in edges.items()}
        assets = [{"path": [USE_CASE, stage]} for stage in DATA_ASSETS]
        return Measured(self._launch({"jobName": "__ASSET_JOB", "assetSelection": assets}, tags, {}), len(days))

    def rollback(self, version: int) -> Measured:
        """Make another version champion by the use case's job, once nothing else runs."""
        sleep(REST_SECONDS)
        job = f"{USE_CASE}__versions"
        action = {"rollback": {"to": version, "why": "measured"}}
        return Measured(self._launch({"jobName": job}, {}, {"ops": {f"{job}_step": {"config": action}}}), 0)

    def _launch(self, what: Mapping[str, Any], tags: Mapping[str, str], config: Mapping[str, Any]) -> Cost:
        parameters = {
            "selector": {"repositoryLocationName": PACKAGE, "repositoryName": "__repository__", **what},
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
            "runConfigData": config,
            "mode": "default",
        }
        assert self._server is not None
        limit = perf_counter() + RUN_SECONDS
        with within(self._server.pid) as cost:
            launched = self._ask(LAUNCH, {"parameters": parameters})["launchRun"]
            if "run" not in launched:
                raise SystemExit(f"the web server launched nothing: {launched}.")
            run, status = launched["run"]["runId"], ""
            while status != "SUCCESS":
                sleep(POLL_SECONDS)
                status = self._ask(STATUS, {"run": run})["runOrError"]["status"]
                if status in {"FAILURE", "CANCELED"} or perf_counter() > limit:
                    raise SystemExit(f"the run that the web server launched is {status}.")
        return cost[0]

    def close(self) -> None:
        """End the server and what it started."""
        if self._server is None or self._server.poll() is not None:
            return
        started = tree(self._server.pid)
        self._server.send_signal(signal.SIGTERM)
        try:
            self._server.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in started.keys() & tree(self._server.pid).keys():
                os.kill(pid, signal.SIGKILL)
            self._server.wait()


class Tutorial:
    """Dagster as taught, by `dagster asset materialize` once a day; of many days the first few."""

    title = "d  Dagster as taught"

    def __init__(self, folder: Path, data: Path, most_days: int) -> None:
        self._folder, self._most_days = folder, most_days
        (folder / "dagster").mkdir(parents=True)
        self._environment = {
            "DAGSTER_HOME": str(folder / "dagster"),
            "TUTORIAL_DATA": str(data),
            "PYTHONWARNINGS": "ignore",
        }

    def prepare(self, days: Sequence[date]) -> None:
        """Fill the storage of the project with the days."""
        seed = [sys.executable, "-m", "benchmarks.seed", *map(str, days)]
        command(seed, HERE.parent, self._environment)

    def run(self, days: Sequence[date]) -> Measured:
        """One run a day; the cost is scaled to all of them."""
        total = Cost(0.0, 0.0, 0.0)
        measured = days[: self._most_days]
        for day in measured:
            arguments = ["asset", "materialize", "--select", "*", "--partition", str(day), "-f", HERE / "tutorial.py"]
            total += command([script("dagster"), *arguments], self._folder, self._environment)[0]
        return Measured(total.times(len(days) / len(measured)), len(measured))

    def features(self, day: date) -> pl.DataFrame:
        """The features that the project stored for a day."""
        import pandas as pd

        return pl.from_pandas(pd.read_pickle(self._folder / "dagster" / "storage" / "features" / str(day)))  # noqa: S301
