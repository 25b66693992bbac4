"""Limits: a stage that takes too much time or memory costs its partition, and neither the run nor its neighbours."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from ml_platform.cli.outcome import Outcome
from ml_platform.cli.project import Project
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.step import op_tags
from ml_platform.use_case import Stage
from ml_platform_tests.examples import use_case
from ml_platform_tests.stages.test_step import Shelf, definition
from ml_platform_tests.tiny_project import AMOUNT, Variant, reasons, run, tiny_project

BAD = "2024-01-02"
NO_LOOKBACK = {"transform": ".features:build", "lookback": "0 days"}
FAULT = """
import ctypes, os, subprocess, sys

import polars as pl


def build(rows: pl.DataFrame) -> pl.DataFrame:
    if str(rows["at"].min())[:10] <= "2024-01-02" <= str(rows["at"].max())[:10]:
        {fault}
    return rows.select("id", "at", "fraud", "amount", process=pl.lit(os.getpid()))
"""
# PyDLL keeps the interpreter's lock while it calls: nothing inside the process can interrupt it
HANG = "ctypes.PyDLL(None).sleep(60)"
GREED = "kept = b'1' * 900_000_000; ctypes.PyDLL(None).sleep(60)"
GREEDY_CHILD = """subprocess.run([sys.executable, "-c", "import time; kept = b'1' * 900_000_000; time.sleep(60)"])"""
KILLED = "os.kill(os.getpid(), 9)"
MISTAKE = "rows['no_such_column']"
TIME, MEMORY = {"features": {"time": "1 second"}}, {"features": {"memory": "800 MB"}}


def faulty(fault: str, limits: dict[str, Any], days: int = 2) -> Variant:
    """A variant whose transform does something on the second day."""
    return Variant({"features": NO_LOOKBACK, "limits": limits}, FAULT.format(fault=fault), days=days)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    variants = {
        "hang": faulty(HANG, TIME, days=3),
        "greed": faulty(GREED, MEMORY),
        "greedy_child": faulty(GREEDY_CHILD, MEMORY),
        "killed": faulty(KILLED, MEMORY),
        "mistake": faulty(MISTAKE, TIME),
        "watched": faulty("pass", TIME),
        "free": faulty("pass", {}),
    }
    with tiny_project(tmp_path_factory.mktemp("limits"), variants) as project:
        yield project


def rows(project: Project, name: str, stage: Stage = "features") -> pl.DataFrame:
    """All that a stage has published, in a fixed order."""
    work = project.work(name)
    return work.lake.table(asset_key(work.use_case, stage)).scan().collect().sort("id")


def failure(project: Project, outcome: Outcome) -> dict[str, Any]:
    """What a program can read of the failure of the last run."""
    (event,) = (
        entry.dagster_event
        for entry in project.instance.all_logs(outcome.runs[-1], of_type=dg.DagsterEventType.STEP_FAILURE)
    )
    assert event
    assert event.step_failure_data.user_failure_data
    return {name: one.value for name, one in event.step_failure_data.user_failure_data.metadata.items()}


def test_a_call_that_hangs_is_ended_and_its_neighbours_live(project: Project) -> None:
    succeeded, outcome = run(project, "hang", days=3)
    assert not succeeded
    assert reasons(outcome, "features") == {
        "complete": "took longer than its limit of 1 second; make it faster, or raise limits.features.time."
    }
    assert {str(day) for day in rows(project, "hang")["partition"]} == {"2024-01-01", "2024-01-03"}
    told = failure(project, outcome)
    assert (told["failure_class"], told["severity"], told["partitions"]) == ("resources", "high", [BAD])
    assert list(told["refused"]["features"]) == [BAD]

    (features,) = project.folder.glob("*/defs/hang/features.py")
    features.write_text(FAULT.format(fault="pass"))
    succeeded, outcome = run(project, "hang", days=3)
    assert succeeded, outcome


@pytest.mark.parametrize("name", ["greed", "greedy_child"])
def test_what_takes_too_much_memory_itself_or_by_a_child_is_ended(project: Project, name: str) -> None:
    succeeded, outcome = run(project, name, days=2)
    assert not succeeded
    reason = reasons(outcome, "features")["complete"]
    assert reason.endswith("more than its limit of 800 MB; make it smaller, or raise limits.features.memory.")
    assert {str(day) for day in rows(project, name)["partition"]} == {"2024-01-01"}


def test_a_process_that_the_system_killed_is_a_failure_of_its_partition(project: Project) -> None:
    _, outcome = run(project, "killed", days=2)
    assert reasons(outcome, "features")["complete"] == (
        "the process that computes it was ended by SIGKILL; give it more memory, and run again."
    )
    assert failure(project, outcome)["failure_class"] == "resources"


def test_a_mistake_in_the_code_is_told_from_the_other_process(project: Project) -> None:
    succeeded, outcome = run(project, "mistake", days=2)
    assert not succeeded
    assert '"no_such_column" not found' in str(outcome.errors)
    assert failure(project, outcome)["failure_class"] == "code"
    assert not reasons(outcome, "features")


def test_without_a_limit_there_is_no_other_process(project: Project) -> None:
    for name in ("watched", "free"):
        assert run(project, name, days=2)[0]
    watched, free = rows(project, "watched"), rows(project, "free")
    assert set(free["process"]) == {os.getpid()}
    assert os.getpid() not in set(watched["process"])
    assert watched.drop("process").equals(free.drop("process"))


def test_every_stage_that_can_be_limited_gives_the_same_with_a_limit(tmp_path: Path) -> None:
    stages: tuple[Stage, ...] = ("raw_data", "validated_data", "features", "model", "evaluation", "predictions")
    limits = {stage: {"time": "10 minutes", "memory": "8 GB"} for stage in stages}
    checks = [{"name": "some", "stage": "features", "function": ".features:some"}]
    code = AMOUNT + "\n\ndef some(rows: pl.DataFrame) -> str | None:\n    return None if rows.height else 'none'\n"
    variants = {
        "watched": Variant({"limits": limits, "checks": checks}, code),
        "free": Variant({"checks": checks}, code),
    }
    found = {}
    with tiny_project(tmp_path, variants) as project:
        for name in variants:
            succeeded, outcome = run(project, name, *stages[:5], "promotion", "predictions")
            assert succeeded, outcome
            assert ("features", "some", True) in {(one.stage, one.name, one.passed) for one in outcome.checks}
            found[name] = outcome.stages["evaluation"].latest["roc_auc"], rows(project, name, "predictions")
    (auc, predictions), (free_auc, free_predictions) = found.values()
    assert auc == free_auc
    assert predictions["prediction"].equals(free_predictions["prediction"])
    assert predictions.height > 0


def test_kubernetes_is_asked_for_the_most_that_a_stage_of_the_step_may_take() -> None:
    case = use_case(limits={"raw_data": {"memory": "500 MB"}, "features": {"memory": "4 GB", "gpus": 1}})
    stages = [definition(case, Shelf(), word) for word in ("raw_data", "features")]
    resources = {"requests": {"memory": "4000000000"}, "limits": {"nvidia.com/gpu": "1"}}
    assert op_tags(case, stages) == {"dagster-k8s/config": {"container_config": {"resources": resources}}}
    assert op_tags(use_case(), stages) == {}
