"""Alerts of a project that really runs: what is told, once, to whom, and when it is over."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster._core.events import DagsterEvent, StepMaterializationData
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._utils.error import SerializableErrorInfo

from ml_platform.alerts.incidents import Book, Incident, open_incidents
from ml_platform.alerts.sensor import look, project_of
from ml_platform.cli.project import Project
from ml_platform.cli.run import run_use_case
from ml_platform_tests.alerts.receivers import Inbox, http_server
from ml_platform_tests.tiny_project import Variant, payments, run, tiny_project, write_rows

NOW = datetime.now(UTC)
TICK = timedelta(seconds=30)
NO_NEGATIVES = {"contract": {"columns": {"amount": {"type": "float64", "min": 0}}}}
CHANNEL = {"channels": {"risk": "RISK_ALERTS"}}


def negative(day: date) -> pl.DataFrame:
    return payments(day).with_columns(-pl.col("amount"))


@dataclass
class Watch:
    """Looks at a project at simulated moments; `console` is what was shown there."""

    project: Project
    now: datetime = NOW
    console: list[str] = field(default_factory=list)

    def look(self, after: timedelta = TICK) -> Book:
        self.now += after
        project, seen = self.project, self.console.append
        repository = project.definitions.get_repository_def()
        return look(project.instance, project_of(repository), project.alerts, project.lake, seen, self.now)

    @property
    def incidents(self) -> list[Incident]:
        return open_incidents(self.project.lake)


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    with http_server() as inbox:
        monkeypatch.setenv("RISK_ALERTS", f"json://127.0.0.1:{inbox.port}")
        yield inbox


def test_a_check_red_on_twenty_partitions_is_one_message_and_one_when_it_is_green(tmp_path: Path, inbox: Inbox) -> None:
    broken = Variant({**NO_NEGATIVES, "alerts": CHANNEL}, rows=negative, days=20)
    with tiny_project(tmp_path, {"tiny": broken}) as project:
        watch = Watch(project)
        for minute in range(30):
            if minute == 5:
                assert not run(project, "tiny", days=20)[0]
            if minute == 10:  # again, as somebody would who hopes
                assert not run(project, "tiny", days=20)[0]
            if minute == 20:
                write_rows(tmp_path, "tiny", Variant(broken.changes, days=20))
                assert run(project, "tiny", days=20)[0]
            watch.look()
            watch.look()
        what = "tiny: the check contract of validated_data failed, 2024-01-01 .. 2024-01-20 (20)"
        assert inbox.titles == [f"[medium] {what}", f"[resolved] {what}"]
        opened, over = (one["message"] for one in inbox.messages)
        assert "300 of 300 rows break the contract" in opened
        assert opened.count("\n- amount min: -") == 3
        assert "http://127.0.0.1:3000/runs/" in opened
        assert opened.splitlines()[-1] == over.splitlines()[-1]
        assert opened.splitlines()[-1].startswith("Incident ")
        assert (watch.console, watch.incidents) == ([], [])


def test_without_a_block_the_sensor_tells_on_the_console_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with tiny_project(tmp_path, {"tiny": Variant(NO_NEGATIVES, rows=negative)}) as project:
        run(project, "tiny", days=2)
        sensor = project.definitions.get_repository_def().get_sensor_def("alerts")
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
        said = []
        for _ in range(2):
            with dg.build_sensor_context(
                project.instance,
                definitions=project.definitions,
                resources={"alerts": project.alerts, "lake": project.lake},
            ) as context:
                said.append(sensor.evaluate_tick(context).skip_message)
        assert said == ["1 incidents go on, 0 channels take no messages."] * 2
        (line,) = capfd.readouterr().err.strip().splitlines()
        assert "[medium] tiny: the check contract of validated_data failed, 2024-01-01 .. 2024-01-02 (2): 300" in line


def test_what_follows_from_a_missing_file_is_not_told_of_every_stage(tmp_path: Path) -> None:
    with tiny_project(tmp_path, {"tiny": Variant()}) as project:
        (tmp_path / "data" / "tiny-2024-01-03.parquet").unlink()
        run(project, "tiny", days=5)
        watch = Watch(project)
        watch.look()
        (line,) = watch.console
        assert line.startswith("[medium] tiny: the check readable of raw_data failed, 2024-01-03: no file data/tiny")


def test_partitions_that_are_mended_one_by_one_end_one_incident(tmp_path: Path) -> None:
    with tiny_project(tmp_path, {"tiny": Variant(NO_NEGATIVES, rows=negative)}) as project:
        run(project, "tiny", days=2)
        watch = Watch(project)
        watch.look()
        for days, left in ((1, ["2024-01-02"]), (2, [])):
            write_rows(tmp_path, "tiny", Variant(NO_NEGATIVES, days=days))
            run(project, "tiny", days=days)
            watch.look()
            assert [one.partitions for one in watch.incidents] == ([left] if left else [])
        assert [line.partition("]")[0] for line in watch.console] == ["[medium", "[resolved"]
        assert "2024-01-01 .. 2024-01-02 (2)" in watch.console[-1]


def test_what_came_and_went_between_two_looks_is_not_told(tmp_path: Path) -> None:
    with tiny_project(tmp_path, {"tiny": Variant(NO_NEGATIVES, rows=negative)}) as project:
        run(project, "tiny", days=2)
        write_rows(tmp_path, "tiny", Variant(NO_NEGATIVES))
        run(project, "tiny", days=2)
        watch = Watch(project)
        watch.look()
        assert watch.console == []


def test_a_check_that_only_warns_the_run_is_told_though_the_run_succeeds(tmp_path: Path) -> None:
    check = {"name": "small", "stage": "raw_data", "function": ".features:small", "severity": "warn"}
    features = """
import polars as pl


def build(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("id", "at", "fraud", "amount")


def small(rows: pl.DataFrame) -> str:
    return "there are few rows; ask the shop."
"""
    with tiny_project(tmp_path, {"tiny": Variant({"checks": [check]}, features=features)}) as project:
        assert run(project, "tiny", days=2)[0]
        watch = Watch(project)
        watch.look()
        (line,) = watch.console
        assert line.startswith("[low] tiny: the check small of raw_data failed, 2024-01-01 .. 2024-01-02 (2)")


FAILS = """
from pathlib import Path


def build(rows):
    if Path("fails").exists():
        raise TypeError("no such thing")
    return rows[["id", "at", "fraud", "amount"]]
"""


def test_a_run_whose_code_fails_is_told_until_a_run_over_the_same_succeeds(tmp_path: Path) -> None:
    with tiny_project(tmp_path, {"tiny": Variant(features=FAILS)}) as project:
        (tmp_path / "fails").touch()
        run(project, "tiny", days=3)
        watch = Watch(project)
        watch.look()
        (line,) = watch.console
        assert line.startswith("[critical] tiny: the run of tiny__data failed, 2024-01-01 .. 2024-01-03 (3): ")
        assert "no such thing" in line
        (tmp_path / "fails").unlink()
        for stages, days, left in (
            (["raw_data"], 3, ["2024-01-01", "2024-01-02", "2024-01-03"]),
            ([], 2, ["2024-01-03"]),
            ([], 3, []),
        ):
            assert run(project, "tiny", *stages, days=days)[0]
            watch.look()
            assert [one.partitions for one in watch.incidents] == ([left] if left else [])


def test_a_run_that_was_killed_is_told_when_monitoring_finds_out(tmp_path: Path) -> None:
    with tiny_project(tmp_path, {"tiny": Variant()}) as project:
        ended(project, "tiny", dg.DagsterEventType.RUN_FAILURE, "its process has vanished")
        watch = Watch(project)
        watch.look()
        assert watch.console == ["[high] tiny: the run of tiny failed, 2024-01-02: its process has vanished"]
        for days, left in ((1, 1), (2, 0)):
            run(project, "tiny", days=days)
            watch.look()
            assert len(watch.incidents) == left
        assert watch.console[1:] == ["[resolved] tiny: the run of tiny failed, 2024-01-02"]


def test_a_run_that_the_code_server_has_lost_is_told_in_words(tmp_path: Path) -> None:
    with tiny_project(tmp_path, {"tiny": Variant()}) as project:
        project.instance.report_run_failed(planned(project, "tiny"))  # as it does, without a reason
        watch = Watch(project)
        watch.look()
        (line,) = watch.console
        assert line.endswith(": its process was killed, or somebody has marked it as failed; its log says more.")


def test_a_check_without_a_verdict_is_told(tmp_path: Path) -> None:
    with tiny_project(tmp_path, {"tiny": Variant()}) as project:
        ended(project, "tiny", dg.DagsterEventType.RUN_SUCCESS)
        watch = Watch(project)
        watch.look()
        assert sorted(line.partition(":")[2] for line in watch.console) == [
            f" the check {check} gave no verdict, 2024-01-02: its run succeeded all the same; look at its log."
            for check in ("complete of features", "contract of validated_data", "readable of raw_data")
        ]


CUT_SHORT = "it was published, but the run ended before it was judged; the next run over it judges it."


@pytest.mark.parametrize("end", [dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED])
def test_what_a_run_that_was_cut_short_has_published_and_not_judged_is_told_until_it_is_judged(
    tmp_path: Path, end: dg.DagsterEventType
) -> None:
    with tiny_project(tmp_path, {"tiny": Variant()}) as project:
        ended(project, "tiny", end, "its process has vanished", published="raw_data")
        watch = Watch(project)
        watch.look()
        # of validated_data and features nothing is there that could be judged
        (line,) = [line for line in watch.console if "the check" in line]
        assert line == f"[medium] tiny: the check readable of raw_data gave no verdict, 2024-01-02: {CUT_SHORT}"
        for days, left in ((1, 1), (2, 0)):
            assert run(project, "tiny", days=days)[0]
            watch.look()
            assert sum(one.kind == "check_missing" for one in watch.incidents) == left
        assert "[resolved] tiny: the check readable of raw_data gave no verdict, 2024-01-02" in watch.console


def test_a_verdict_that_comes_late_and_is_red_is_told_instead_of_the_missing_one(tmp_path: Path) -> None:
    alerts = {"alerts": {"severities": {"check_missing": "high"}}}
    with tiny_project(tmp_path, {"tiny": Variant({**NO_NEGATIVES, **alerts}, rows=negative)}) as project:
        ended(project, "tiny", dg.DagsterEventType.RUN_CANCELED, published="validated_data")
        watch = Watch(project)
        watch.look()
        assert watch.console == [
            f"[high] tiny: the check contract of validated_data gave no verdict, 2024-01-02: {CUT_SHORT}"
        ]
        run(project, "tiny", days=2)
        watch.look()
        assert [(one.kind, one.partitions) for one in watch.incidents] == [
            ("check_failed", ["2024-01-01", "2024-01-02"])
        ]
        assert "[resolved] tiny: the check contract of validated_data gave no verdict, 2024-01-02" in watch.console


def ended(
    project: Project, name: str, end: dg.DagsterEventType, message: str | None = None, published: str | None = None
) -> None:
    """A run of which nothing is known but what was planned, what it has published without a verdict, and its end."""
    run = planned(project, name)
    if published:
        done = StepMaterializationData(dg.AssetMaterialization([name, published], partition="2024-01-02"))
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION.value
        project.instance.report_dagster_event(
            DagsterEvent(kind, run.job_name, event_specific_data=done, message=published), run.run_id
        )
    project.instance.report_dagster_event(DagsterEvent(end.value, run.job_name, message=message), run.run_id)


def planned(project: Project, name: str) -> dg.DagsterRun:
    """A run over the second day of the step of data."""
    return project.instance.create_run_for_job(
        project.definitions.resolve_implicit_global_asset_job_def(),
        asset_selection=frozenset(
            dg.AssetKey([name, stage]) for stage in ("raw_data", "quarantine", "validated_data", "features")
        ),
        tags={"dagster/partition": "2024-01-02"},
    )


def test_a_partition_that_is_not_there_by_its_deadline_is_told_until_it_is(tmp_path: Path) -> None:
    with tiny_project(tmp_path, {"tiny": Variant({"alerts": {"late_after": "6 hours"}})}) as project:
        watch = Watch(project, datetime(2024, 1, 7, 5, tzinfo=UTC))
        watch.look()
        assert watch.console == []  # it has never run, so nothing is late
        run(project, "tiny", days=5)
        watch.look()
        assert watch.console == []
        watch.look(timedelta(hours=1))
        watch.look(timedelta(hours=1))
        (line,) = watch.console
        assert line == (
            "[high] tiny: features is late, 2024-01-06: it is not there 6 hours after its end; "
            "ml-platform why tiny/features 2024-01-06 says what is missing."
        )
        run(project, "tiny", days=6)
        watch.look()
        assert watch.console[1:] == ["[resolved] tiny: features is late, 2024-01-06"]


def test_nothing_is_late_after_the_last_partition(tmp_path: Path) -> None:
    with tiny_project(tmp_path, {"tiny": Variant()}) as project:
        run(project, "tiny", days=5)
        watch = Watch(project)
        watch.look()
        assert watch.console == []


def test_a_tick_that_fails_is_told_until_one_does_not(tmp_path: Path) -> None:
    with tiny_project(tmp_path, {"tiny": Variant()}) as project:
        watch = Watch(project)
        tick(project, TickStatus.FAILURE, 1)
        watch.look()
        assert watch.console == ["[high] the tick of alerts failed: the lake is gone"]
        tick(project, TickStatus.STARTED, 2)
        watch.look()
        assert len(watch.incidents) == 1
        tick(project, TickStatus.SKIPPED, 3)
        watch.look()
        assert watch.console[1:] == ["[resolved] the tick of alerts failed"]


def tick(project: Project, status: TickStatus, second: int) -> None:
    """A tick of the sensor of alerts, as the daemon records it."""
    target = LoadableTargetOrigin(executable_path="python", module_name="project.definitions")
    place = RemoteRepositoryOrigin(ManagedGrpcPythonEnvCodeLocationOrigin(target, "project"), "__repository__")
    origin = RemoteInstigatorOrigin(place, "alerts")
    state = InstigatorState(
        origin, InstigatorType.SENSOR, InstigatorStatus.DECLARED_IN_CODE, SensorInstigatorData(min_interval=30)
    )
    if not project.instance.all_instigator_state():
        project.instance.add_instigator_state(state)
    error = SerializableErrorInfo("the lake\nis gone", [], "OSError") if status is TickStatus.FAILURE else None
    project.instance.create_tick(
        TickData(
            instigator_origin_id=origin.get_id(),
            instigator_name="alerts",
            instigator_type=InstigatorType.SENSOR,
            status=status,
            timestamp=NOW.timestamp() + second,
            selector_id=state.selector_id,
            error=error,
        )
    )


def test_a_new_champion_and_a_run_that_succeeds_are_told_once(tmp_path: Path) -> None:
    with tiny_project(tmp_path, {"tiny": Variant({"alerts": {"on_success": True}})}) as project:
        assert run_use_case(project, "tiny", None, "2024-01-07", quiet=True)[0]
        watch = Watch(project)
        watch.look()
        watch.look()
        (moved,) = [line for line in watch.console if "champion" in line]
        assert moved.startswith("[low] tiny: version 1 is champion: promoted by ")
        assert len([line for line in watch.console if line.startswith("[low] tiny: the run of ")]) == 3
        assert len(watch.console) == 4


def test_a_heartbeat_comes_once_a_day_on_every_channel(tmp_path: Path, inbox: Inbox) -> None:
    alerts = {**CHANNEL, "heartbeat": "0 8 * * *", "routes": {"low": ["console"]}}
    with tiny_project(tmp_path, {"tiny": Variant({"alerts": alerts})}) as project:
        watch = Watch(project, datetime(2026, 1, 1, 7, tzinfo=UTC))
        for _ in range(10):
            watch.look(timedelta(hours=6))
        assert inbox.titles == ["[low] tiny: heartbeat of alerts"] * 2
        assert inbox.messages[0]["message"].startswith("alerts work; 0 incidents go on.")


def test_a_failing_channel_is_waited_for_and_loses_nothing(tmp_path: Path, inbox: Inbox) -> None:
    variants = {name: Variant({**NO_NEGATIVES, "alerts": CHANNEL}, rows=negative) for name in ("one", "two")}
    with tiny_project(tmp_path, variants) as project:
        watch = Watch(project)
        inbox.status = 500
        for name in variants:
            run(project, name, days=1)
        for _ in range(20):
            watch.look()
        assert inbox.attempts == 5  # at 0, 30, 90, 210 and 450 seconds, one message each
        assert next(line for line in watch.console if "did not take" in line).startswith(
            "risk (RISK_ALERTS) did not take a message: it answered HTTP 500; tried again at "
        )
        assert len([line for line in watch.console if line.startswith("[medium] ")]) == 2
        inbox.status = 200
        for _ in range(20):
            watch.look()
        assert sorted(inbox.titles) == [
            f"[medium] {name}: the check contract of validated_data failed, 2024-01-01" for name in variants
        ]


def test_an_incident_that_was_over_before_its_channel_worked_is_told_all_the_same(tmp_path: Path, inbox: Inbox) -> None:
    with tiny_project(tmp_path, {"tiny": Variant({**NO_NEGATIVES, "alerts": CHANNEL}, rows=negative)}) as project:
        watch = Watch(project)
        inbox.status = 503
        run(project, "tiny", days=1)
        watch.look()
        write_rows(tmp_path, "tiny", Variant())
        run(project, "tiny", days=1)
        watch.look()
        inbox.status = 200
        watch.look(timedelta(hours=1))
        watch.look()
        assert inbox.titles == ["[resolved] tiny: the check contract of validated_data failed, 2024-01-01"]


def test_what_is_found_is_stored_before_it_is_told(tmp_path: Path) -> None:
    with tiny_project(tmp_path, {"tiny": Variant(NO_NEGATIVES, rows=negative)}) as project:
        run(project, "tiny", days=1)
        repository = project.definitions.get_repository_def()

        def cut_off(_: str) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            look(project.instance, project_of(repository), project.alerts, project.lake, cut_off, NOW)
        watch = Watch(project)
        before = watch.incidents
        assert len(before) == 1
        watch.look()
        assert [one.id for one in watch.incidents] == [one.id for one in before]
        assert len(watch.console) == 1


def test_an_incident_that_goes_on_is_told_again_once_a_day(tmp_path: Path, inbox: Inbox) -> None:
    with tiny_project(tmp_path, {"tiny": Variant({**NO_NEGATIVES, "alerts": CHANNEL}, rows=negative)}) as project:
        run(project, "tiny", days=1)
        watch = Watch(project)
        for hours in (0, 1, 22, 2, 3):
            watch.look(timedelta(hours=hours))
        what = "tiny: the check contract of validated_data failed, 2024-01-01"
        assert inbox.titles == [f"[medium] {what}", f"[medium, still] {what}"]


def test_a_channel_whose_variable_is_not_set_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RISK_ALERTS", raising=False)
    with tiny_project(tmp_path, {"tiny": Variant({**NO_NEGATIVES, "alerts": CHANNEL}, rows=negative)}) as project:
        run(project, "tiny", days=1)
        watch = Watch(project)
        for _ in range(3):
            watch.look()
        (line,) = watch.console
        assert line.endswith("(for risk, but RISK_ALERTS is not set)")


def test_incidents_go_to_the_channels_of_their_severity(tmp_path: Path, inbox: Inbox) -> None:
    alerts: dict[str, Any] = {**CHANNEL, "routes": {"medium": ["console"], "high": ["risk"]}}
    both = {
        "quiet": Variant({**NO_NEGATIVES, "alerts": alerts}, rows=negative),
        "loud": Variant({**NO_NEGATIVES, "alerts": {**alerts, "severities": {"check_failed": "high"}}}, rows=negative),
    }
    with tiny_project(tmp_path, both) as project:
        for name in both:
            run(project, name, days=1)
        watch = Watch(project)
        watch.look()
        assert [line.partition(":")[0] for line in watch.console] == ["[medium] quiet"]
        assert [title.partition(":")[0] for title in inbox.titles] == ["[high] loud"]
        assert {one.use_case for one in open_incidents(project.lake, "loud")} == {"loud"}


@pytest.mark.parametrize("answer", [500, None])
def test_an_address_is_nowhere_in_what_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], answer: int | None
) -> None:
    with http_server() as inbox:
        inbox.status, port = answer or 500, inbox.port if answer else 1
        monkeypatch.setenv("RISK_ALERTS", f"json://someone:hunter2pass@127.0.0.1:{port}/hunter2token?+X-Key=hunter2key")
        variant = Variant({**NO_NEGATIVES, "alerts": CHANNEL}, rows=negative)
        with tiny_project(tmp_path, {"tiny": variant}) as project:
            run(project, "tiny", days=1)
            run_use_case(project, "tiny", None, "2024-01-07", quiet=True)
            sensor = project.definitions.get_repository_def().get_sensor_def("alerts")
            with dg.build_sensor_context(
                project.instance,
                definitions=project.definitions,
                resources={"alerts": project.alerts, "lake": project.lake},
            ) as context:
                sensor.evaluate_tick(context)
            assert inbox.attempts == (1 if answer else 0)
            said = capfd.readouterr()
            assert "did not take a message" in said.err
            left = [file for file in (tmp_path / ".ml_platform").rglob("*") if file.is_file()]
            assert {"incidents.json", "mlflow.db"} <= {file.name for file in left}
            assert b"RISK_ALERTS" in next(one for one in left if one.name == "incidents.json").read_bytes()
            texts = [said.out.encode(), said.err.encode(), *(file.read_bytes() for file in left)]
            assert not [text for text in texts if b"hunter2" in text]


def test_open_incidents_are_none_before_the_first_look(tmp_path: Path) -> None:
    with tiny_project(tmp_path, {"tiny": Variant()}) as project:
        assert open_incidents(project.lake, "tiny") == []


def test_another_instance_is_read_from_its_beginning(tmp_path: Path) -> None:
    with tiny_project(tmp_path, {"tiny": Variant(NO_NEGATIVES, rows=negative)}) as project:
        watch = Watch(project)
        watch.look()
        file = tmp_path / ".ml_platform" / "lake" / "alerts" / "incidents.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "log": "that of before", "read_to": 1_000_000}))
        run(project, "tiny", days=1)
        watch.look()
        assert len(watch.incidents) == 1
