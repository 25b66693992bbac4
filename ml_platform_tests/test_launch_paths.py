"""What failed its gate is never readable, however the run was launched: by a person, the daemon, or a command.

One project has a use case for each path. Twelve days are published. Then days turn bad and bad days are new, two for
each gate, and every path launches all days: the webserver, the daemon and the commands work at the same time.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

import dagster as dg
import polars as pl
import pytest
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status
from mlflow import MlflowClient

from ml_platform.cli.project import environment
from ml_platform.resources.lake import Lake
from ml_platform_tests.projects import FIRST_DAY, write_project, write_use_case
from ml_platform_tests.services import free_port, running

REPOSITORY = Path(__file__).parents[1]
COMMANDS = Path(sys.executable).parent
Found = TypeVar("Found")
PACKAGE = "launched"
DATA = ("raw_data", "quarantine", "validated_data", "features")
GATES = ("contract", "volume", "duplicates", "plausible")
ROWS, POISON = 40, 1e9
PATIENCE = 300  # seconds
PUBLISHED, LAST = 12, 23  # days
MODELS = "models"  # the use case of which no data is launched again

USE_CASE = """
type: ml_platform.components.UseCase
attributes:
  name: {name}
  task: binary_classification
  source: {{type: files, path: "data/{{partition}}.parquet", format: parquet}}
  partitions: {{every: day, start: 2018-04-01, end: 2018-04-24}}
  contract:
    key: [id]
    event_time: at
    columns:
      id: {{type: int64}}
      at: {{type: datetime}}
      account: {{type: string, nullable: false}}
      channel: {{type: string}}
      amount: {{type: float64, min: 0}}
      late: {{type: int64, one_of: [0, 1]}}
    quarantine_at_most: 25%
    duplicates_at_most: 5%
    volume: {{at_least: 20}}
  features: {{transform: launched.payments:build, lookback: 1 day}}
  label: {{column: late}}
  checks:
    - {{name: plausible, stage: validated_data, function: launched.payments:no_channel, arguments: {{channel: test}}}}
    - name: familiar
      stage: validated_data
      function: launched.payments:no_channel
      arguments: {{channel: phone}}
      severity: warn
  model:
    train_on: 3 days
    hold_out: 3 days
    estimator: sklearn.linear_model.LogisticRegression
  registry: {{name: {name}}}
"""

PAYMENTS = '''
import polars as pl


def build(rows: pl.DataFrame) -> pl.DataFrame:
    """What an account spent in the day up to each payment."""
    spent = rows.sort("at").rolling("at", period="1d", group_by="account").agg(
        pl.col("id").last(), pl.col("late").last(), pl.col("amount").sum().alias("spent")
    )
    return spent.select("id", "at", "late", "spent")


def no_channel(rows: pl.DataFrame, channel: str) -> str | None:
    found = rows.filter(pl.col("channel") == channel).height
    return f"{found} rows came over the channel {channel}; look at the source." if found else None
'''

LAUNCHES = """
from collections.abc import Iterator

import dagster as dg

START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def keys(use_case: str) -> list[dg.AssetKey]:
    return [dg.AssetKey([use_case, stage]) for stage in ("raw_data", "quarantine", "validated_data", "features")]


@dg.schedule(
    cron_schedule="* * * * *",
    target=dg.AssetSelection.assets(*keys("schedule")),
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def each_minute(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    if context.instance.get_runs_count(dg.RunsFilter(tags={"dagster/schedule_name": "each_minute"})):
        return dg.SkipReason("Once is enough.")
    return dg.RunRequest(tags={START: "2018-04-01", END: "2018-04-23"})


@dg.sensor(
    target=dg.AssetSelection.assets(*keys("sensor")),
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def on_delivery() -> Iterator[dg.RunRequest]:
    yield dg.RunRequest("range", tags={START: "2018-04-01", END: "2018-04-22"})
    yield dg.RunRequest("day", partition_key="2018-04-23")


conditions = dg.AutomationConditionSensorDefinition(
    "conditions",
    target=dg.AssetSelection.assets(*keys("condition")),
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
"""

# a person may write these with the use case: raw data once, what comes after it with what it is made of
CONDITIONS = """
template_vars_module: .conditions
post_processing:
  assets:
    - target: "key:condition/raw_data"
      attributes: {automation_condition: "{{ at_first }}"}
    - target: "key:condition/quarantine or key:condition/validated_data or key:condition/features"
      attributes: {automation_condition: "{{ after_its_inputs }}"}
"""
TEMPLATE_VARIABLES = """
import dagster as dg


@dg.template_var
def at_first() -> dg.AutomationCondition:
    return dg.AutomationCondition.initial_evaluation()


@dg.template_var
def after_its_inputs() -> dg.AutomationCondition:
    # nothing of checks: the gates hold by themselves
    return (
        dg.AutomationCondition.any_deps_updated()
        & ~dg.AutomationCondition.any_deps_missing()
        & ~dg.AutomationCondition.any_deps_in_progress()
    )
"""

WORKSPACE = f"load_from: [{{python_module: {{module_name: {PACKAGE}.definitions, location_name: {PACKAGE}}}}}]\n"


def day_of(number: int) -> date:
    return FIRST_DAY.date() + timedelta(days=number - 1)


def key_of(number: int) -> str:
    return f"{day_of(number)}"


@dataclass(frozen=True)
class Case:
    """A day that breaks one gate, between two good days."""

    gate: str
    bad: int
    had: bool
    """Whether a good version of the day was published before."""

    def __str__(self) -> str:
        return f"{self.gate}-{'turned_bad' if self.had else 'bad_from_the_start'}"

    @property
    def neighbours(self) -> list[int]:
        """The good days before and after it."""
        return [number for number in (self.bad - 1, self.bad + 1) if number <= LAST]


CASES = [
    *(Case(gate, 3 * number + 2, had=True) for number, gate in enumerate(GATES)),
    *(Case(gate, PUBLISHED + 3 * number + 2, had=False) for number, gate in enumerate(GATES)),
]
BAD = {case.bad: case for case in CASES}
WARNED = (3, 13)
ALL = range(1, LAST + 1)


def good(number: int, delivery: int) -> pl.DataFrame:
    """The rows of a good day; a day's first delivery differs from its second."""
    rows = range(ROWS)
    channels = ["phone" if row == 0 and number in WARNED and delivery == 2 else "web" for row in rows]
    return pl.DataFrame(
        {
            "id": [1000 * number + row for row in rows],
            "at": [FIRST_DAY + timedelta(days=number - 1, minutes=30 * row) for row in rows],
            "account": [f"account {row % 5}" for row in rows],
            "channel": channels,
            "amount": [float(100 * delivery + row) for row in rows],
            "late": [row % 2 for row in rows],
        },
        schema_overrides={"at": pl.Datetime("us")},
    )


def bad(number: int, gate: str) -> pl.DataFrame:
    """The rows of a day that breaks one gate and no other; each of them would be noticed in any sum."""
    rows = good(number, 2).with_columns(amount=pl.lit(POISON))
    nth = pl.int_range(pl.len())
    match gate:
        case "contract":
            return rows.with_columns(account=pl.when(nth >= 0.3 * ROWS).then("account"))
        case "volume":
            return rows.head(10)
        case "duplicates":
            return rows.with_columns(id=pl.when(nth >= 8).then("id").otherwise(pl.col("id").last()))
        case _:
            return rows.with_columns(channel=pl.when(nth == 0).then(pl.lit("test")).otherwise("channel"))


def deliver(folder: Path, days: Mapping[int, pl.DataFrame]) -> None:
    for number, rows in days.items():
        rows.write_parquet(folder / "data" / f"{key_of(number)}.parquet")


FIRST_DELIVERY = {number: good(number, 1) for number in range(1, PUBLISHED + 1)}
# the day after one that turned bad has changed, so that its features are computed again; the day before has not
SECOND_DELIVERY = {
    number: bad(number, BAD[number].gate) if number in BAD else good(number, 2)
    for number in ALL
    if number > PUBLISHED or number % 3 != 1
}
READABLE = {
    number: FIRST_DELIVERY[number] if number in BAD else SECOND_DELIVERY.get(number, FIRST_DELIVERY.get(number))
    for number in ALL
    if number not in BAD or BAD[number].had
}


def features_of(number: int, days: Mapping[int, pl.DataFrame]) -> dict[int, float] | None:
    """What each row's account spent in the day up to it; None where a day that is needed is not among these."""
    needed = [day for day in (number - 1, number) if day > 0]
    if not all(day in days for day in needed):
        return None
    seen = [row for day in needed for row in days[day].iter_rows(named=True)]
    return {
        row["id"]: sum(
            other["amount"]
            for other in seen
            if other["account"] == row["account"] and row["at"] - timedelta(days=1) < other["at"] <= row["at"]
        )
        for row in days[number].iter_rows(named=True)
    }


@dataclass(frozen=True)
class Platform:
    """A project with its webserver, its daemon and its commands."""

    folder: Path
    variables: Mapping[str, str]
    instance: dg.DagsterInstance
    port: int

    def ask(self, query: str, **variables: Any) -> Any:
        """The answer of the webserver's GraphQL, the field that was asked for."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = json.dumps({"query": query, "variables": variables})
        try:
            connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert "errors" not in answer, answer["errors"]
        (field,) = answer["data"].values()
        return field

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project's folder to its end."""
        return subprocess.run(
            [str(COMMANDS / arguments[0]), *arguments[1:]],
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    def materialize(self, use_case: str, stages: Sequence[str], tags: Mapping[str, str], **more: Any) -> str:
        """Launch a run as the button of the UI does; its id."""
        launched = self.ask(
            """mutation ($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
                __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
            } }""",
            params={
                "selector": {
                    "repositoryLocationName": PACKAGE,
                    "repositoryName": "__repository__",
                    "pipelineName": "__ASSET_JOB",
                    "assetSelection": [{"path": [use_case, stage]} for stage in stages],
                    **more,
                },
                "runConfigData": {},
                "mode": "default",
                "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
            },
        )
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id: str = launched["run"]["runId"]
        return run_id

    def backfill(self, use_case: str, stages: Sequence[str], partitions: Sequence[str]) -> list[dg.DagsterRun]:
        """Launch a backfill as the UI does; its runs when it has ended."""
        launched = self.ask(
            """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
                __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
            } }""",
            params={
                "assetSelection": [{"path": [use_case, stage]} for stage in stages],
                "partitionNames": list(partitions),
            },
        )
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return self.backfilled(launched["backfillId"])

    def finished(self, runs: Sequence[str]) -> list[dg.DagsterRun]:
        """These runs when all have ended."""
        return self.wait(lambda: self._ended(dg.RunsFilter(run_ids=list(runs)), len(runs)))

    def launched_by(self, tags: Mapping[str, str], number: int = 1) -> list[dg.DagsterRun]:
        """The runs with these tags when there are as many and all have ended."""
        return self.wait(lambda: self._ended(dg.RunsFilter(tags=dict(tags)), number))

    def backfilled(self, backfill_id: str) -> list[dg.DagsterRun]:
        """The runs of a backfill when it has ended."""
        over = (BulkActionStatus.COMPLETED_SUCCESS, BulkActionStatus.COMPLETED_FAILED, BulkActionStatus.FAILED)

        def ended() -> bool:
            backfill = self.instance.get_backfill(backfill_id)
            return backfill is not None and backfill.status in over

        self.wait(ended)
        return self.launched_by({"dagster/backfill": backfill_id})

    def _ended(self, which: dg.RunsFilter, number: int) -> list[dg.DagsterRun]:
        runs = self.instance.get_runs(which)
        return list(runs) if len(runs) >= number and all(run.is_finished for run in runs) else []

    def wait(self, look: Callable[[], Found]) -> Found:
        """What is found when it is there."""
        until = monotonic() + PATIENCE
        while not (found := look()):
            assert monotonic() < until, f"nothing happened for {PATIENCE} seconds; see the logs in {self.folder}."
            sleep(0.5)
        return found


START, END, PARTITION = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end", "dagster/partition"
# whoever has three runs to wait for goes first
FIRST = {START: key_of(1), END: key_of(LAST), "dagster/priority": "1"}


def ui(platform: Platform) -> list[dg.DagsterRun]:
    """A range of days, and the last day by itself."""
    tags = ({START: key_of(1), END: key_of(LAST - 1)}, {PARTITION: key_of(LAST)})
    return platform.finished([platform.materialize("ui", DATA, one) for one in tags])


def backfill(platform: Platform) -> list[dg.DagsterRun]:
    return platform.backfill("backfill", DATA, [key_of(number) for number in ALL])


def schedule(platform: Platform) -> list[dg.DagsterRun]:
    return platform.launched_by({"dagster/schedule_name": "each_minute"})


def sensor(platform: Platform) -> list[dg.DagsterRun]:
    return platform.launched_by({"dagster/sensor_name": "on_delivery"}, 2)


def condition(platform: Platform) -> list[dg.DagsterRun]:
    """One launch of the automation sensor, which is switched off then."""

    def mine() -> list[str]:
        found = platform.instance.get_backfills()
        return [one.backfill_id for one in found if one.tags.get("dagster/sensor_name") == "conditions"]

    platform.wait(mine)
    selector = {"repositoryLocationName": PACKAGE, "repositoryName": "__repository__", "sensorName": "conditions"}
    found = platform.ask(
        "query ($of: SensorSelector!) { sensorOrError(sensorSelector: $of) { ... on Sensor { id } } }", of=selector
    )
    platform.ask("mutation ($id: String!) { stopSensor(id: $id) { __typename } }", id=found["id"])
    sleep(6)  # a tick that had begun
    return [run for one in mine() for run in platform.backfilled(one)]


def ml_platform_run(platform: Platform) -> list[dg.DagsterRun]:
    before = _of("ml_platform_run", platform)
    stages = [argument for stage in DATA for argument in ("--stage", stage)]
    done = platform.command("ml-platform", "run", "ml_platform_run", "--from", key_of(1), "--to", key_of(LAST), *stages)
    assert done.returncode == 1, done.stdout + done.stderr
    return [run for run in _of("ml_platform_run", platform) if run not in before]


def dagster_asset_materialize(platform: Platform) -> list[dg.DagsterRun]:
    name = "dagster_asset_materialize"
    done = platform.command(*materialize_command([name], 1, LAST))
    assert done.returncode != 0, done.stdout + done.stderr
    return _of(name, platform)


def downstream_alone(platform: Platform) -> list[dg.DagsterRun]:
    """Each stage in a run of its own; the platform's checks are not even selected."""
    runs = []
    for stages in (["raw_data"], ["validated_data"], ["features"]):
        run_id = platform.materialize("downstream_alone", stages, FIRST, assetCheckSelection=[])
        runs += platform.finished([run_id])
    return runs


def check_alone(platform: Platform) -> list[dg.DagsterRun]:
    """Raw data, then one check on what is made of it as the button of the check does, then what comes after."""
    check = {"assetKey": {"path": ["check_alone", "validated_data"]}, "name": "contract"}
    runs = []
    for stages, checks in ((["raw_data"], []), ([], [check]), (["features"], [])):
        run_id = platform.materialize("check_alone", stages, FIRST, assetCheckSelection=checks)
        runs += platform.finished([run_id])
    return runs


def _of(use_case: str, platform: Platform) -> list[dg.DagsterRun]:
    """The runs of a use case alone."""
    return [
        run
        for run in platform.instance.get_runs()
        if run.asset_selection and {key.path[0] for key in run.asset_selection} == {use_case}
    ]


def materialize_command(use_cases: Sequence[str], first: int, last: int) -> list[str]:
    return [
        *("dagster", "asset", "materialize", "-m", f"{PACKAGE}.definitions"),
        *("--select", ",".join(f"key:{name}/{stage}" for name in use_cases for stage in DATA)),
        *("--partition-range", f"{key_of(first)}...{key_of(last)}"),
    ]


PATHS: dict[str, Callable[[Platform], list[dg.DagsterRun]]] = {
    path.__name__: path
    for path in (
        ml_platform_run,
        dagster_asset_materialize,
        ui,
        downstream_alone,
        check_alone,
        sensor,
        schedule,
        backfill,
        condition,
    )
}


@dataclass(frozen=True)
class Launch:
    """What a path has left behind."""

    path: str
    platform: Platform
    runs: list[dg.DagsterRun]

    @cached_property
    def validated(self) -> pl.DataFrame:
        return self._table("validated_data")

    @cached_property
    def features(self) -> pl.DataFrame:
        return self._table("features")

    def _table(self, stage: str) -> pl.DataFrame:
        lake = Lake(root=str(Path(self.platform.variables["ML_PLATFORM_HOME"]) / "lake"))
        return lake.table(dg.AssetKey([self.path, stage])).scan().collect()

    def statuses(self, check: str) -> dict[str | None, Status]:
        """The last status of a check on validated data, by partition."""
        key = dg.AssetCheckKey(dg.AssetKey([self.path, "validated_data"]), check)
        found = self.platform.instance.event_log_storage.get_asset_check_partition_info([key])
        return {one.partition_key: one.latest_execution_status for one in found}

    @cached_property
    def shown(self) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        """The colours in the UI, by partition: those of validated data, and those of each of its checks."""
        answer = self.platform.ask(
            """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
                assetPartitionStatuses { ... on TimePartitionStatuses { ranges { startKey endKey status } } }
                assetChecksOrError { ... on AssetChecks { checks { name partitionStatuses {
                    ... on AssetCheckTimePartitionStatuses { ranges { startKey endKey status } }
                } } } }
            } } }""",
            key={"path": [self.path, "validated_data"]},
        )
        checks = answer["assetChecksOrError"]["checks"]
        return _colours(answer["assetPartitionStatuses"]), {
            check["name"]: _colours(check["partitionStatuses"]) for check in checks
        }


def _colours(statuses: Mapping[str, Any]) -> dict[str, str]:
    keys = [key_of(number) for number in ALL]
    return {
        key: one["status"]
        for one in statuses["ranges"]
        for key in keys[keys.index(one["startKey"]) : keys.index(one["endKey"]) + 1]
    }


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The project with its first deliveries published and its second ones delivered, its webserver and its daemon."""
    folder = tmp_path_factory.mktemp(PACKAGE, numbered=False)
    write_project(folder, PACKAGE)
    (folder / PACKAGE / "payments.py").write_text(PAYMENTS)
    for name in PATHS:
        write_use_case(folder, PACKAGE, name, USE_CASE.format(name=name) + (CONDITIONS if name == "condition" else ""))
    daily = USE_CASE.format(name=MODELS).replace("  model:\n", "  model:\n    every: day\n")
    write_use_case(folder, PACKAGE, MODELS, daily)
    (folder / PACKAGE / "defs" / "condition" / "conditions.py").write_text(TEMPLATE_VARIABLES)
    automation = folder / PACKAGE / "defs" / "automation"
    automation.mkdir()
    (automation / "launches.py").write_text(LAUNCHES)
    (folder / "workspace.yaml").write_text(WORKSPACE)
    (folder / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    deliver(folder, FIRST_DELIVERY)
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("ML_PLATFORM_HOME", "DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE", "MLFLOW_TRACKING_URI"):
            patch.delenv(variable, raising=False)
        variables = {**os.environ, **environment(folder)}
    port = free_port()
    with dg.DagsterInstance.from_config(variables["DAGSTER_HOME"]) as instance:
        platform = Platform(folder, variables, instance, port)
        published = platform.command(*materialize_command([*PATHS, MODELS], 1, PUBLISHED))
        assert published.returncode == 0, published.stdout + published.stderr
        deliver(folder, SECOND_DELIVERY)
        place = ("-h", "127.0.0.1", "-p", str(port))
        with running(folder, variables, "dagster-webserver", *place, "-w", "workspace.yaml"):
            platform.wait(lambda: answers(platform))
            with running(folder, variables, "dagster-daemon", "run", "-w", "workspace.yaml"):
                yield platform


def answers(platform: Platform) -> bool:
    """Whether the webserver is there, with the project loaded."""
    try:
        found = platform.ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }")
    except OSError:
        return False
    return bool(found["nodes"])


@pytest.fixture(scope="module")
def launches(platform: Platform) -> Iterator[Mapping[str, Future[list[dg.DagsterRun]]]]:
    """All paths at once: most of their time is the daemon's waiting."""
    with ThreadPoolExecutor(len(PATHS)) as pool:
        yield {name: pool.submit(path, platform) for name, path in PATHS.items()}


@pytest.fixture(scope="module", params=list(PATHS))
def launch(
    request: pytest.FixtureRequest, platform: Platform, launches: Mapping[str, Future[list[dg.DagsterRun]]]
) -> Launch:
    return Launch(request.param, platform, launches[request.param].result(PATIENCE))


# each verdict is a test of its own
by_case = pytest.mark.parametrize("case", CASES, ids=str)


@by_case
def test_the_table_has_no_row_of_it(launch: Launch, case: Case) -> None:
    rows = launch.validated.filter(pl.col("partition") == day_of(case.bad)).drop("partition").sort("id")

    assert rows.equals(READABLE[case.bad].sort("id")) if case.had else rows.is_empty()


@by_case
def test_no_features_are_made_of_it(launch: Launch, case: Case) -> None:
    for number in (case.bad, *case.neighbours):
        rows = launch.features.filter(pl.col("partition") == day_of(number))
        found = dict(rows.select("id", "spent").iter_rows()) or None
        possible = [features_of(number, READABLE)]
        if case.had and number >= case.bad:  # may have been left as they were
            possible.append(features_of(number, FIRST_DELIVERY))
        assert found in possible, number


@by_case
def test_its_check_fails_on_that_day_alone(launch: Launch, case: Case) -> None:
    statuses = launch.statuses(case.gate)
    failed = {key for key, status in statuses.items() if status is Status.FAILED}

    assert failed == {key_of(other.bad) for other in CASES if other.gate == case.gate}
    for number in case.neighbours:
        assert statuses[key_of(number)] is Status.SUCCEEDED, number


@by_case
def test_its_neighbours_are_published_and_green(launch: Launch, case: Case) -> None:
    for number in case.neighbours:
        rows = launch.validated.filter(pl.col("partition") == day_of(number)).drop("partition").sort("id")
        assert rows.equals(READABLE[number]), number
        assert launch.shown[0][key_of(number)] == "MATERIALIZED", number
    if launch.path != "check_alone":  # no materialization was planned
        assert launch.shown[0][key_of(case.bad)] == "FAILED"


@by_case
def test_the_ui_shows_the_verdicts(launch: Launch, case: Case) -> None:
    shown = launch.shown[1][case.gate]

    failed = {key_of(other.bad) for other in CASES if other.gate == case.gate}
    assert {key for key, status in shown.items() if status == "FAILED"} == failed
    for number in case.neighbours:
        assert shown.get(key_of(number)) == "SUCCEEDED", number


def test_a_warning_is_shown_and_nothing_is_withheld(launch: Launch) -> None:
    statuses = launch.statuses("familiar")
    assert {key for key, status in statuses.items() if status is Status.FAILED} == {key_of(one) for one in WARNED}
    check = dg.AssetCheckKey(dg.AssetKey([launch.path, "validated_data"]), "familiar")
    history = launch.platform.instance.event_log_storage.get_asset_check_execution_history(
        check, 1000, status={Status.FAILED}
    )
    evaluations = [one.event.dagster_event.asset_check_evaluation_data for one in history]
    assert {one.severity for one in evaluations} == {dg.AssetCheckSeverity.WARN}
    for number in WARNED:
        rows = launch.validated.filter(pl.col("partition") == day_of(number)).drop("partition").sort("id")
        assert rows.equals(READABLE[number]), number
        assert launch.shown[0][key_of(number)] == "MATERIALIZED", number


def test_the_launch_fails_and_says_why(launch: Launch) -> None:
    assert dg.DagsterRunStatus.FAILURE in {run.status for run in launch.runs}
    said = " ".join(
        record.event_log_entry.dagster_event.step_failure_data.error.message
        for run in launch.runs
        for record in launch.platform.instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE
        ).records
    )
    for words in ("rows break the contract", "keep the contract, at least 20 must", "repeat a key", "channel test"):
        assert words in said


def test_a_backfill_of_models_walks_forward_over_cutoffs_in_one_run(platform: Platform) -> None:
    cutoffs = [key_of(number) for number in range(8, 12)]
    (run,) = platform.backfill(MODELS, ("model", "evaluation", "promotion"), cutoffs)
    assert run.status is dg.DagsterRunStatus.SUCCESS
    lake = Lake(root=str(platform.folder / ".ml_platform" / "lake"))
    decided = lake.table(dg.AssetKey([MODELS, "promotion"])).scan().sort("partition").collect()
    assert [f"{day}" for day in decided["partition"]] == cutoffs
    ledger = lake.table(dg.AssetKey([MODELS, "ledger"])).scan().sort("at").collect()
    assert ledger["cutoff"].to_list() == cutoffs
    assert set(ledger["dagster_run"]) == {run.run_id}
    client = MlflowClient(f"sqlite:///{platform.folder}/.ml_platform/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name(MODELS).experiment_id], order_by=["start_time"])
    assert [one.data.tags["cutoff"] for one in found] == cutoffs
    assert {(one.info.status, one.data.tags["dagster_run_id"]) for one in found} == {("FINISHED", run.run_id)}
