"""The real daemon: a file lands, and its predictions appear without a hand."""

import os
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep

import dagster as dg

from ml_platform.use_case import STAGES
from ml_platform_tests.services import running
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
        (package,) = (file.parent.name for file in tmp_path.glob("*/definitions.py"))
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(tmp_path)])}
        with running(tmp_path, variables, "dagster-daemon", "run", "-m", f"{package}.definitions"):
            unfinished = tmp_path / "unfinished"
            payments(FIRST + timedelta(days=DAYS)).write_parquet(unfinished)
            unfinished.rename(tmp_path / "data" / f"{NAME}-{NEW}.parquet")
            until = monotonic() + PATIENCE
            while NEW not in project.instance.get_materialized_partitions(dg.AssetKey([NAME, "predictions"])):
                assert monotonic() < until, (tmp_path / "dagster-daemon.log").read_text()[-5000:]
                sleep(1)
        launched = project.instance.get_runs(dg.RunsFilter(tags={"ml_platform/automation": NAME}))
        assert {run.tags["dagster/sensor_name"] for run in launched} == {f"{NAME}__files", f"{NAME}__predictions"}
