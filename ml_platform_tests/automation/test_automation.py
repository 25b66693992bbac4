"""Schedules, sensors and conditions one by one: when they are on, what they ask for, and when they keep still."""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import polars as pl
import pytest
from dagster._core.test_utils import freeze_time
from dagster._utils.schedules import schedule_execution_time_iterator
from hypothesis import given
from hypothesis import strategies as st

from ml_platform.automation.definitions import schedules, sensors
from ml_platform.automation.due import due_cutoff
from ml_platform.automation.requests import LANE_TAG, MOST_RUNS, RANGE_TAGS, run_requests
from ml_platform.automation.sensors import retraining_sensor
from ml_platform.cli.project import Project
from ml_platform.partitions import data_partitions
from ml_platform.use_case.words import DATA, MODEL, PREDICTIONS
from ml_platform_tests.examples import use_case
from ml_platform_tests.tiny_project import FIRST, Variant, payments, run, tiny_project, write_rows

STOPPED = dg.DefaultSensorStatus.STOPPED


def names(**changes: Any) -> dict[str, bool]:
    """The schedules and sensors of the tiny use case, and whether they are on."""
    case = use_case(**changes)
    found = [*schedules(case), *sensors(case)]
    return {one.name.removeprefix("tiny__"): one.default_status.value == "RUNNING" for one in found}


def test_what_asks_for_runs_is_off_until_it_is_switched_on() -> None:
    assert names().keys() >= {"data", "training", "files", "predictions"}
    assert {name for name, is_on in names().items() if is_on} == {"mlflow"}
    assert all(names(automation={"on": True}).values())


def test_only_files_of_partitions_are_watched() -> None:
    assert "files" not in names(source={"type": "files", "path": "data/all.csv", "format": "csv"})
    assert "files" not in names(partitions="none", model={"train_on": None, "hold_out": None})


@pytest.mark.parametrize(
    ("changes", "crons"),
    [
        ({}, ("0 2 * * *", "0 4 * * *")),
        ({"partitions": {"every": "week", "start": "2024-01-01"}}, ("0 2 * * 1", "0 4 * * *")),
        ({"partitions": {"every": "month", "start": "2024-01-01"}}, ("0 2 1 * *", "0 4 * * *")),
        ({"partitions": "none", "model": {"every": "month"}}, ("0 2 * * *", "0 4 1 * *")),
        ({"automation": {"data": "5 6 * * 1-5", "training": "0 7 * * 1"}}, ("5 6 * * 1-5", "0 7 * * 1")),
    ],
)
def test_schedules_tick_by_the_cadence(changes: dict[str, Any], crons: tuple[str, str]) -> None:
    assert tuple(one.cron_schedule for one in schedules(use_case(**changes))) == crons


@pytest.mark.parametrize(("first", "last"), [("2024-03-29", "2024-04-03"), ("2024-10-25", "2024-10-30")])
def test_a_tick_comes_once_a_day_when_clocks_change(first: str, last: str) -> None:
    schedule = schedules(use_case(automation={"data": "30 2 * * *", "time_zone": "Europe/Berlin"}))[0]
    zone = ZoneInfo("Europe/Berlin")
    start, end = (datetime.fromisoformat(one).replace(tzinfo=zone) for one in (first, last))
    ticks = schedule_execution_time_iterator(start.timestamp(), schedule.cron_schedule, schedule.execution_timezone)
    days = []
    for tick in ticks:
        if tick >= end:
            break
        days.append(tick.astimezone(zone).date())
    assert days == [start.date() + timedelta(days=number) for number in range((end.date() - start.date()).days)]


@pytest.mark.parametrize(
    ("zone", "over"), [("UTC", 0), ("Europe/Berlin", -2), ("America/New_York", 4), ("Asia/Tokyo", -9)]
)
def test_a_day_is_over_at_midnight_of_the_time_zone(zone: str, over: int) -> None:
    definition = data_partitions(use_case(partitions={"end": None}, automation={"time_zone": zone}))
    assert definition is not None
    midnight = datetime(2024, 6, 2, tzinfo=UTC) + timedelta(hours=over)
    assert definition.get_partition_keys(midnight)[-1] == "2024-06-01"
    assert definition.get_partition_keys(midnight - timedelta(seconds=1))[-1] == "2024-05-31"


@given(st.sets(st.integers(0, 30), min_size=1), st.integers(0, 3))
def test_runs_are_few_in_order_and_hold_what_was_asked_for(numbers: set[int], lookback: int) -> None:
    case = use_case(features={"lookback": f"{lookback} days"})
    keys = [f"{date(2024, 1, 1) + timedelta(days=number)}" for number in sorted(numbers)]
    for stages, near in ((DATA, 1 + lookback), (PREDICTIONS, 1)):
        found = [
            tuple(date.fromisoformat(one.tags[tag]) for tag in RANGE_TAGS) for one in run_requests(case, stages, keys)
        ]
        assert all(any(first <= date.fromisoformat(key) <= last for first, last in found) for key in keys)
        assert {f"{end}" for one in found for end in one} <= set(keys)
        gaps = [(after[0] - before[1]).days for before, after in pairwise(found)]
        assert all(gap > near for gap in gaps)
        assert len(found) <= MOST_RUNS


@pytest.fixture
def automated(tmp_path: Path) -> Iterator[Project]:
    """A project with the files of seven days, and once more with conditions; nothing of it was run."""
    changes = {"partitions": {"start": f"{FIRST}", "end": None}, "automation": {"mode": "declarative"}}
    with tiny_project(tmp_path, {"tiny": Variant(), "conditions": Variant(changes)}) as project:
        yield project


def look(project: Project, sensor: dg.SensorDefinition, cursor: str | None) -> Any:
    resources = project.definitions.get_repository_def().get_top_level_resources()
    with dg.build_sensor_context(project.instance, cursor=cursor, resources=resources) as context:
        return sensor.evaluate_tick(context)


def files_sensor(project: Project) -> dg.SensorDefinition:
    return project.definitions.get_repository_def().get_sensor_def("tiny__files")


def test_a_file_that_is_being_written_is_left_until_it_rests(automated: Project) -> None:
    sensor, file = files_sensor(automated), automated.folder / "data" / f"tiny-{FIRST}.parquet"
    now = file.stat().st_mtime + 60
    with freeze_time(now):
        first = look(automated, sensor, None)
        (request,) = first.run_requests
        assert [request.tags[tag] for tag in RANGE_TAGS] == [f"{FIRST}", f"{FIRST + timedelta(days=6)}"]
        assert request.tags[LANE_TAG] == "tiny"
        assert len(first.cursor) == 16
        assert "None of 7 files" in look(automated, sensor, first.cursor).skip_message
        payments(FIRST).head(5).write_parquet(file)
        os.utime(file, (now - 1, now - 1))
        writing = look(automated, sensor, first.cursor)
        assert (writing.run_requests, writing.skip_message) == ([], f"{FIRST} is still being written.")
    with freeze_time(now + 60):
        (request,) = look(automated, sensor, writing.cursor).run_requests
        # with the next day, which looks back at it and has no features
        assert [request.tags[tag] for tag in RANGE_TAGS] == [f"{FIRST}", f"{FIRST + timedelta(days=1)}"]


def test_a_sensor_waits_for_the_run_it_has_asked_for(automated: Project) -> None:
    sensor = files_sensor(automated)
    waiting = automated.instance.create_run_for_job(automated.job, tags={LANE_TAG: "tiny"})
    with freeze_time(datetime.now(UTC) + timedelta(minutes=1)):
        seen = look(automated, sensor, None)
        assert (seen.run_requests, seen.cursor) == ([], None)
        assert seen.skip_message == f"Waits for run {waiting.run_id[:8]} of tiny."
        automated.instance.delete_run(waiting.run_id)
        assert len(look(automated, sensor, None).run_requests) == 1


def test_monitoring_asks_for_a_model_once(automated: Project) -> None:
    sensor = retraining_sensor(use_case(), STOPPED)
    key = dg.AssetKey(["tiny", "monitoring"])

    def found(retraining: dict[str, Any] | None, cursor: str | None) -> Any:
        metadata = {} if retraining is None else {"retraining": retraining}
        automated.instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=metadata))
        return look(automated, sensor, cursor)

    assert look(automated, sensor, None).run_requests == []
    assert found(None, None).run_requests == []
    assert found({"wanted": False, "why": ""}, None).run_requests == []
    # the cutoff that it has counted for, whichever is the newest by now
    asked = found({"wanted": True, "why": "The scores have drifted.", "cutoff": "2024-01-30"}, None)
    (request,) = asked.run_requests
    assert request.asset_selection == [dg.AssetKey(["tiny", stage]) for stage in MODEL]
    assert [request.tags[tag] for tag in RANGE_TAGS] == ["2024-01-30"] * 2
    assert look(automated, sensor, asked.cursor).run_requests == []
    again = found({"wanted": True, "why": "They have drifted on.", "cutoff": "2024-01-31"}, asked.cursor)
    assert again.run_requests[0].run_key != request.run_key


def test_no_model_is_due_before_the_first_cutoff() -> None:
    case = use_case(
        model={"every": "week", "weekday": "thursday"},
        partitions={"end": None},
        automation={"time_zone": "Europe/Berlin"},
    )
    midnight = datetime(2024, 1, 11, tzinfo=ZoneInfo("Europe/Berlin"))
    with dg.DagsterInstance.ephemeral() as instance:
        for moment, due in ((midnight - timedelta(seconds=1), []), (midnight, ["2024-01-11"])):
            with freeze_time(moment):
                assert due_cutoff(instance, case) == due


@pytest.mark.parametrize("cutoff", ["2024-01-08", "2024-01-09"])
def test_a_cutoff_is_not_trained_once_it_or_a_later_one_is_decided_on(automated: Project, cutoff: str) -> None:
    write_rows(automated.folder, "tiny", Variant(days=8))
    for stages in (DATA, MODEL):
        assert run(automated, "tiny", *stages, days=8)[0]  # the later one alone
    drifted = {"retraining": {"wanted": True, "why": "The scores have drifted.", "cutoff": cutoff}}
    event = dg.AssetMaterialization(dg.AssetKey(["tiny", "monitoring"]), metadata=drifted)
    automated.instance.report_runless_asset_event(event)
    seen = look(automated, retraining_sensor(use_case(), STOPPED), None)
    assert (seen.run_requests, seen.cursor) == ([], None)
    assert seen.skip_message == (
        f"The scores have drifted. That of {cutoff} is decided on, refused on the features as they are, "
        "or a run is at it."
    )


def test_conditions_ask_for_what_is_due_and_follow_what_is_sound(automated: Project) -> None:
    cursor = None

    def asked(moment: str) -> dict[str, set[str]]:
        nonlocal cursor
        found = dg.evaluate_automation_conditions(
            automated.definitions,
            automated.instance,
            dg.AssetSelection.groups("conditions"),
            evaluation_time=datetime.fromisoformat(moment).replace(tzinfo=UTC),
            cursor=cursor,
        )
        cursor = found.cursor
        stages = (*DATA, *MODEL, *PREDICTIONS)
        keys = {stage: found.get_requested_partitions(dg.AssetKey(["conditions", stage])) for stage in stages}
        return {stage: {str(one) for one in wanted} for stage, wanted in keys.items() if wanted}

    days = [f"{FIRST + timedelta(days=number)}" for number in range(7)]
    payments(FIRST + timedelta(days=4)).with_columns(fraud=pl.lit(7)).write_parquet(
        automated.folder / "data" / f"conditions-{days[4]}.parquet"
    )
    assert asked("2024-01-08 01:00") == {}
    assert asked("2024-01-08 02:01") == {stage: set(days) for stage in DATA}
    assert not run(automated, "conditions", *DATA)[0]  # the fifth day is refused, and the sixth, which looks back at it
    assert asked("2024-01-08 02:02") == {stage: {*days[:4], days[6]} for stage in PREDICTIONS}
    assert asked("2024-01-08 04:01") == {stage: {"2024-01-08"} for stage in MODEL}
    assert asked("2024-01-08 04:02") == {}
    assert asked("2024-01-09 02:01")["raw_data"] == {"2024-01-08"}
