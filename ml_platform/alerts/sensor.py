"""The sensor that looks at everything that happened and tells what went wrong: one for the whole code location."""

from collections.abc import Callable
from datetime import datetime

import dagster as dg
from dagster._core.storage.runs import SqlRunStorage

from ml_platform.alerts.delivery import Delivery
from ml_platform.alerts.incidents import Book, Finding, load, moment, save
from ml_platform.alerts.project import Project
from ml_platform.alerts.runs import ended_runs, findings
from ml_platform.alerts.watching import heartbeats, late, moves, ticks
from ml_platform.resources.alerting import Alerts
from ml_platform.resources.lake import Lake
from ml_platform.use_case import Alerting

ALERTS = "ml_platform/alerts"
"""The metadata of the code location under which each use case says who is told: `ml_platform/alerts/card_fraud`."""


@dg.sensor(
    name="alerts",
    description="Tells what went wrong, once, and when it is over: see docs/alerts.md.",
    minimum_interval_seconds=30,
    # switched on by itself: an alerter that waits to be found is none, and without a channel it only writes to the log
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def alerts(context: dg.SensorEvaluationContext, alerts: Alerts, lake: Lake) -> dg.SkipReason:
    """Look once, and tell whom it concerns."""
    assert context.repository_def is not None
    book = look(context.instance, project_of(context.repository_def), alerts, lake, context.log.warning, moment())
    going_on = sum(one.is_open for one in book.incidents)
    return dg.SkipReason(f"{going_on} incidents go on, {len(book.backoff)} channels take no messages.")


def project_of(repository: dg.RepositoryDefinition) -> Project:
    """What a code location holds."""
    metadata = repository.metadata or {}
    return Project(
        use_cases={
            name.removeprefix(f"{ALERTS}/"): Alerting.model_validate(one.value)
            for name, one in metadata.items()
            if name.startswith(f"{ALERTS}/")
        },
        assets=repository.asset_graph,
        instigators=frozenset(
            [*(one.name for one in repository.sensor_defs), *(one.name for one in repository.schedule_defs)]
        ),
    )


def look(
    instance: dg.DagsterInstance,
    project: Project,
    alerts: Alerts,
    lake: Lake,
    show: Callable[[str], None],
    now: datetime,
) -> Book:
    """Read on where the last look ended, and tell what is new; the book after it.

    What was found is stored, together with how far everything was read, before anybody is told: a look that is cut off
    loses nothing, and tells twice only what it was telling.
    """
    assert isinstance(instance.run_storage, SqlRunStorage)
    log = instance.run_storage.get_run_storage_id()
    book = load(lake) or Book(log=log, began=now)
    if book.log != log:
        book = Book(log=log, began=now, incidents=book.incidents)
    book = _read(instance, project, book, now)
    save(lake, book)
    book = Delivery(project, alerts, show, lambda told: save(lake, told), now).deliver(book)
    save(lake, book)
    return book


def _read(instance: dg.DagsterInstance, project: Project, book: Book, now: datetime) -> Book:
    """The book with all that happened since it was read last."""
    found: list[Finding] = []
    read_to, moved, beats = book.read_to, dict(book.moves_read_to), dict(book.heartbeats)
    for event, said in findings(instance, project, ended_runs(instance, read_to, book.reads_from)):
        read_to = event
        found += said
    for event, move in moves(instance, project, book):
        moved[move.use_case] = event
        found.append(move)
    for beat in heartbeats(project, book, now):
        beats[beat.use_case] = now
        found.append(beat)
    found += [*late(instance, project, book, now), *ticks(instance, project, book)]
    read = {"read_to": read_to, "moves_read_to": moved, "heartbeats": beats}
    return book.with_findings(found, now).model_copy(update=read)
