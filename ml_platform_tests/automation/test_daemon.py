"""The real daemon: a file lands, and its predictions appear without a hand."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep

import dagster as dg

from ml_platform.cli.project import Project
from ml_platform.use_case import STAGES
from ml_platform_tests.tiny_project import FIRST, Variant, payments, run, tiny_project

REPOSITORY = Path(__file__).parents[2]
NAME, DAYS, PATIENCE = "tiny", 7, 240
NEW = f"{FIRST + timedelta(days=DAYS)}"
AUTOMATED = Variant(
    changes={
        "partitions": {"every": "day", "start": f"{FIRST}", "end": f"{FIRST + timedelta(days=DAYS + 1)}"},
        "automation": {"on": True},
    },
    days=DAYS,
)


def test_a_file_lands_and_its_predictions_appear(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    with tiny_project(tmp_path, {NAME: AUTOMATED}) as project:
        succeeded, outcome = run(project, NAME, *STAGES, days=DAYS)
        assert succeeded, outcome.errors
        with daemon(project):
            unfinished = tmp_path / "unfinished"
            payments(FIRST + timedelta(days=DAYS)).write_parquet(unfinished)
            unfinished.rename(tmp_path / "data" / f"{NAME}-{NEW}.parquet")
            until = monotonic() + PATIENCE
            while NEW not in project.instance.get_materialized_partitions(dg.AssetKey([NAME, "predictions"])):
                assert monotonic() < until, (tmp_path / "daemon.log").read_text()[-5000:]
                sleep(1)
        launched = project.instance.get_runs(dg.RunsFilter(tags={"ml_platform/automation": NAME}))
        assert {run.tags["dagster/sensor_name"] for run in launched} == {f"{NAME}__files", f"{NAME}__predictions"}


@contextmanager
def daemon(project: Project) -> Iterator[None]:
    """The daemon of a project, in a session of its own that ends with it."""
    (package,) = (file.parent.name for file in project.folder.glob("*/definitions.py"))
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-m", f"{package}.definitions"]
    with (project.folder / "daemon.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=project.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(project.folder)])},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        finally:
            for how in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, how)
                    process.wait(20)
                except ProcessLookupError:
                    break
                except subprocess.TimeoutExpired:
                    continue
            process.wait(20)
