"""A simulated clock that drives a use case as the daemon does: schedules when they tick, sensors at each look."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.test_utils import freeze_time

from ml_platform.automation.requests import RANGE_TAGS
from ml_platform.cli.execution import QUIET
from ml_platform.cli.project import Project

ZONE = ZoneInfo("Europe/Berlin")
GROUPS = {"features": "data", "model": "model", "predictions": "predictions"}


@dataclass(frozen=True)
class Launched:
    """A run that was asked for, by which schedule or sensor, and whether all of it was published."""

    by: str
    group: str
    first: str
    last: str
    good: bool

    def __str__(self) -> str:
        span = self.first if self.first == self.last else f"{self.first}..{self.last}"
        return f"{self.by}: {self.group} {span} {'good' if self.good else 'refused'}"


@dataclass
class Simulation:
    """The daemon on a clock that is set by hand; each run is executed at once, in this process."""

    project: Project
    clock: datetime
    """Naive, in Berlin."""
    launched: list[Launched] = field(default_factory=list)
    said: dict[str, str | None] = field(default_factory=dict)
    """Why each schedule and sensor asked for nothing, when it was looked at last."""
    cursors: dict[str, str | None] = field(default_factory=dict)

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
            looking = dg.build_sensor_context(
                self.project.instance, cursor=self.cursors.get(sensor.name), resources=self.resources
            )
            with freeze_time(self.now), looking as context:
                seen = sensor.evaluate_tick(context)
            self.cursors[sensor.name] = seen.cursor
            self._take(sensor.name, seen)
        return [str(one) for one in self.launched[known:]]

    def _take(self, by: str, done: Any) -> None:
        name = by.partition("__")[2]
        self.said[name] = done.skip_message
        for request in done.run_requests or ():
            first, last = (request.tags.get(tag, "") for tag in RANGE_TAGS)
            group = next(GROUPS[key.path[-1]] for key in request.asset_selection if key.path[-1] in GROUPS)
            result = self.project.job.execute_in_process(
                instance=self.project.instance,
                asset_selection=request.asset_selection,
                tags=request.tags,
                run_config=QUIET,
                raise_on_error=False,
            )
            self.launched.append(Launched(name, group, first, last, result.success))


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
