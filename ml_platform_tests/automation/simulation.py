"""A simulated clock that drives a use case as the daemon does: schedules when they tick, sensors at each look."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from time import monotonic
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.test_utils import freeze_time

from ml_platform.automation.requests import RANGE_TAGS
from ml_platform.cli.execution import QUIET
from ml_platform.cli.project import Project
from ml_platform.cli.run import run_use_case
from ml_platform.use_case.words import DATA
from ml_platform_tests.alerts.receivers import Inbox
from ml_platform_tests.automation.killing import Killed

ZONE = ZoneInfo("Europe/Berlin")
GROUPS = {"features": "data", "model": "model", "predictions": "predictions"}
ALERTS = "alerts"


class Asked(NamedTuple):
    """What a run is over: a group of stages, and the first and last partition."""

    group: str
    first: str
    last: str


@dataclass(frozen=True)
class Launched:
    """A run that was asked for, by which schedule or sensor, how it ended, when and in how many real seconds."""

    by: str
    group: str
    first: str
    last: str
    end: str
    """`good` if all of it was published, `refused` if not, or `killed`."""
    at: datetime
    seconds: float

    def __str__(self) -> str:
        span = self.first if self.first == self.last else f"{self.first}..{self.last}"
        return f"{self.by}: {self.group} {span} {self.end}"


@dataclass
class Simulation:
    """The daemon on a clock that is set by hand; each run is executed at once, in this process.

    All else looks before the alerts do, so that these tell what has just happened.
    """

    project: Project
    clock: datetime
    """Naive, in Berlin."""
    inbox: Inbox = field(default_factory=Inbox)
    """What the alerts tell."""
    launched: list[Launched] = field(default_factory=list)
    said: dict[str, str | None] = field(default_factory=dict)
    """Why each schedule and sensor asked for nothing, when it was looked at last."""
    cursors: dict[str, str | None] = field(default_factory=dict)
    told: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)
    """The messages, each with the moment that it came at."""
    kill_in: dg.AssetKey | None = None
    """The table in which the next run's process is killed, as soon as it has published there."""

    @property
    def now(self) -> datetime:
        return self.clock.replace(tzinfo=ZONE)

    @cached_property
    def resources(self) -> dict[str, dg.ResourceDefinition]:
        return dict(self.repository.get_top_level_resources())

    @cached_property
    def repository(self) -> dg.RepositoryDefinition:
        return self.project.definitions.get_repository_def()

    def at(self, moment: str) -> list[str]:
        """Set the clock to a moment of Berlin, let everything look once; what was launched, in words."""
        before, self.clock = self.clock, datetime.fromisoformat(moment)
        self.said.clear()
        known = len(self.launched)
        for schedule in self.repository.schedule_defs:
            if (tick := _last_tick(schedule, before, self.clock)) is not None:
                with freeze_time(self.now):
                    context = dg.build_schedule_context(self.project.instance, scheduled_execution_time=tick)
                    done = schedule.evaluate_tick(context)
                self._take(schedule.name, done)
        for sensor in self.repository.sensor_defs:
            if sensor.name != ALERTS:
                self._take(sensor.name, self._look(sensor))
        self._tell()
        return [str(one) for one in self.launched[known:]]

    def by_hand(self, moment: str, use_case: str, first: str, last: str) -> None:
        """Somebody brings in days by the command line, at a moment before the next tick of a schedule."""
        self.clock, begin = datetime.fromisoformat(moment), monotonic()
        good, _ = run_use_case(self.project, use_case, first, last, stages=DATA, quiet=True)
        self._enter("person", Asked("data", first, last), "good" if good else "refused", monotonic() - begin)

    def _look(self, sensor: dg.SensorDefinition) -> Any:
        looking = dg.build_sensor_context(
            self.project.instance,
            cursor=self.cursors.get(sensor.name),
            resources=self.resources,
            repository_def=self.repository,
        )
        with freeze_time(self.now), looking as context:
            seen = sensor.evaluate_tick(context)
        self.cursors[sensor.name] = seen.cursor
        return seen

    def _tell(self) -> None:
        for sensor in self.repository.sensor_defs:
            if sensor.name == ALERTS:
                self.said[ALERTS] = self._look(sensor).skip_message
        self.told += [(self.clock, message) for message in self.inbox.messages[len(self.told) :]]

    def _take(self, by: str, done: Any) -> None:
        name = by.partition("__")[2]
        self.said[name] = done.skip_message
        # what is of no assets is the project's housekeeping
        for request in [one for one in done.run_requests or () if one.asset_selection]:
            if self.kill_in is not None:
                self._kill(name, request, self.kill_in)
                continue
            begin = monotonic()
            result = self.project.job.execute_in_process(
                instance=self.project.instance,
                asset_selection=request.asset_selection,
                tags=request.tags,
                run_config=QUIET,
                raise_on_error=False,
            )
            self._enter(name, _asked(request), "good" if result.success else "refused", monotonic() - begin)

    def _kill(self, name: str, request: dg.RunRequest, key: dg.AssetKey) -> None:
        table, asked, self.kill_in = self.project.lake.table(key), _asked(request), None
        begin = monotonic()
        with Killed(self.project, request, lambda: asked.last in map(str, table.row_counts())) as killed:
            self._enter(name, asked, "killed", monotonic() - begin)
            self._tell()
            begin = monotonic()
            end = "good" if killed.tried_again() else "refused"
            self._enter("retry", asked, end, monotonic() - begin)

    def _enter(self, by: str, asked: Asked, end: str, seconds: float) -> None:
        self.launched.append(Launched(by, asked.group, asked.first, asked.last, end, self.clock, seconds))


def _asked(request: dg.RunRequest) -> Asked:
    stages = [key.path[-1] for key in request.asset_selection or ()]
    first, last = (request.tags.get(tag, "") for tag in RANGE_TAGS)
    return Asked(next(GROUPS[stage] for stage in stages if stage in GROUPS), first, last)


def _last_tick(schedule: dg.ScheduleDefinition, after: datetime, until: datetime) -> datetime | None:
    """The last tick in a span: Dagster catches up with none but that, as these schedules have no partitions."""
    found = None
    start = after.replace(tzinfo=ZONE)
    for tick in _ticks(schedule, start):
        if tick > until.replace(tzinfo=ZONE):
            return found
        if tick > start:
            found = tick
    return found


def _ticks(schedule: dg.ScheduleDefinition, start: datetime) -> Iterator[datetime]:
    from dagster._utils.schedules import schedule_execution_time_iterator

    yield from schedule_execution_time_iterator(start.timestamp(), schedule.cron_schedule, schedule.execution_timezone)
