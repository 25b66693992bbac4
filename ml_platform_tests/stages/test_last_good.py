"""Partitions that are served by their last good value: they say so, and no model made of them becomes champion."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_platform.cli.project import Project
from ml_platform.cli.run import DATA, MODEL
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.last_good import CHECK, LAST_GOOD
from ml_platform.stages.record import newest_materializations
from ml_platform_tests.tiny_project import FIRST, Variant, payments, reasons, run, tiny_project, verdicts, write_rows

DAY = f"{FIRST}"
MARKING = {"failures": {"data": {"do": "last_good"}}}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with tiny_project(tmp_path, {"marking": Variant(MARKING), "plain": Variant()}) as project:
        yield project


def spoil(name: str) -> None:
    (Path.cwd() / "data" / f"{name}-{DAY}.parquet").write_bytes(b"nothing")


def is_marked(project: Project, name: str) -> bool:
    """Whether the newest record of the day's raw data says that it is the last good value."""
    newest = newest_materializations(project.instance, asset_key(project.work(name).use_case, "raw_data"), [DAY])[DAY]
    assert newest.asset_materialization
    return LAST_GOOD in newest.asset_materialization.metadata


def test_a_model_of_the_last_good_value_is_kept_back_until_the_day_is_mended(project: Project) -> None:
    assert run(project, "marking", *DATA)[0]
    before = project.work("marking").data_versions("raw_data", [DAY])
    spoil("marking")
    succeeded, _ = run(project, "marking", *DATA)
    assert not succeeded
    assert is_marked(project, "marking")
    assert project.work("marking").data_versions("raw_data", [DAY]) == before

    _, outcome = run(project, "marking", *MODEL)
    assert reasons(outcome, "promotion") == {
        CHECK: f"it was trained on the last good value of {DAY}, whose new data was refused; mend it, run again."
    }
    assert project.work("marking").tracking.champion("marking") is None

    write_rows(Path.cwd(), "marking", Variant(rows=lambda day: payments(day).head(290)))
    assert run(project, "marking", *DATA)[0]
    assert not is_marked(project, "marking")
    _, outcome = run(project, "marking", *MODEL)
    assert verdicts(outcome, "promotion")[CHECK]
    assert project.work("marking").tracking.champion("marking") is not None


def test_the_mark_goes_when_the_old_data_is_delivered_again(project: Project) -> None:
    assert run(project, "marking", *DATA)[0]
    spoil("marking")
    run(project, "marking", *DATA)
    write_rows(Path.cwd(), "marking", Variant())
    succeeded, outcome = run(project, "marking", *DATA)
    assert succeeded
    assert not outcome.has_changed
    assert not is_marked(project, "marking")


def test_a_day_that_never_was_good_is_not_served(project: Project) -> None:
    spoil("marking")
    run(project, "marking", *DATA)
    assert project.work("marking").data_versions("raw_data", [DAY]) == {DAY: None}


def test_nothing_is_marked_unless_it_is_asked_for(project: Project) -> None:
    assert run(project, "plain", *DATA)[0]
    spoil("plain")
    run(project, "plain", *DATA)
    assert not is_marked(project, "plain")
    _, outcome = run(project, "plain", *MODEL)
    assert CHECK not in verdicts(outcome, "promotion")
