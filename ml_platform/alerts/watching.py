"""What no run says: partitions that are late, ticks that failed, moves of the champion, and that alerts work."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus
from dagster._utils.schedules import reverse_cron_string_iterator

from ml_platform.alerts.incidents import Book, Finding
from ml_platform.alerts.project import Project
from ml_platform.alerts.runs import RUNS_AT_ONCE, root_cause
from ml_platform.blocks import write_duration
from ml_platform.stages.ledger import ledger_key

EXPECTED = "features"  # the last stage that is made of new data alone
FINISHED = [TickStatus.FAILURE, TickStatus.SUCCESS, TickStatus.SKIPPED]


def late(instance: dg.DagsterInstance, project: Project, book: Book, now: datetime) -> Iterator[Finding]:
    """Whether the newest partition that should be there is, and those that were late before.

    Nothing is late of a use case that has published nothing so far, nor after the last of its partitions.
    """
    for use_case, about in project.use_cases.items():
        key = dg.AssetKey([use_case, EXPECTED])
        definition = project.partitions(key)
        if not isinstance(definition, dg.TimeWindowPartitionsDefinition):
            continue
        ended = definition.get_partition_keys(current_time=now - about.late_after)
        waited = {
            partition
            for incident in book.incidents
            if (incident.kind, incident.use_case) == ("partition_late", use_case)
            for partition in incident.partitions
        }
        if ended and instance.get_latest_materialization_event(key):
            window = definition.time_window_for_partition_key(ended[-1])
            if now < window.end + (window.end - window.start) + about.late_after:
                waited.add(ended[-1])
        if not waited:
            continue
        published = instance.event_log_storage.get_latest_storage_id_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION, waited
        )
        for passed, partitions in ((True, waited & published.keys()), (False, waited - published.keys())):
            if partitions:
                yield Finding(
                    kind="partition_late",
                    use_case=use_case,
                    subject=EXPECTED,
                    passed=passed,
                    partitions=sorted(partitions),
                    severity=about.severity("partition_late"),
                    why=f"it is not there {write_duration(about.late_after)} after its end; "
                    f"ml-platform why {key.to_user_string()} {max(partitions)} says what is missing.",
                )


def ticks(instance: dg.DagsterInstance, project: Project, book: Book) -> Iterator[Finding]:
    """How the last tick of each sensor and schedule that is switched on ended."""
    watched = set()
    for state in instance.all_instigator_state():
        name = state.instigator_name
        if state.status is InstigatorStatus.STOPPED or name not in project.instigators:
            continue
        watched.add(name)
        use_case = project.owner(name)
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1, statuses=FINISHED):
            yield Finding(
                kind="tick_failed",
                use_case=use_case,
                subject=name,
                passed=tick.status is not TickStatus.FAILURE,
                severity=project.about(use_case).severity("tick_failed"),
                why=root_cause(tick.error) if tick.error else "",
            )
    for incident in book.incidents:
        if incident.kind == "tick_failed" and incident.is_open and incident.subject not in watched:
            yield Finding("tick_failed", incident.use_case, incident.subject, passed=True)


def moves(instance: dg.DagsterInstance, project: Project, book: Book) -> Iterator[tuple[int, Finding]]:
    """The newest move of each champion since the last look, with its event; moves before it are only counted."""
    for use_case, about in project.use_cases.items():
        read_to = book.moves_read_to.get(use_case)
        after: dict[str, Any] = {"after_timestamp": book.reads_from.timestamp()}
        if read_to is not None:
            after = {"after_storage_id": read_to}
        entries = dg.AssetRecordsFilter(ledger_key(use_case), **after)
        records = instance.fetch_materializations(entries, limit=RUNS_AT_ONCE, ascending=True).records
        if not records or (materialization := records[-1].asset_materialization) is None:
            continue
        shown = {name: value.value for name, value in materialization.metadata.items()}
        before = f"version {shown['from_version']}" if "from_version" in shown else "none"
        moves = f", the last of {len(records)} moves" if len(records) > 1 else ""
        how = str(shown["event"]).replace("_", " ")
        yield (
            records[-1].storage_id,
            Finding(
                kind="champion_changed",
                use_case=use_case,
                subject=f"version {shown.get('version', 'none')}",
                passed=False,
                severity=about.severity("champion_changed"),
                why=f"{how} by {shown['by']} after {before}{moves}: {shown['why']}",
                run_id=str(shown["dagster_run"]) if "dagster_run" in shown else None,
                notice=True,
            ),
        )


def heartbeats(project: Project, book: Book, now: datetime) -> Iterator[Finding]:
    """A heartbeat for each use case whose time for one has come since the last."""
    for use_case, about in project.use_cases.items():
        if about.heartbeat is None:
            continue
        due = next(reverse_cron_string_iterator(now.timestamp(), str(about.heartbeat), "UTC"))
        if due > book.heartbeats.get(use_case, book.began):
            going_on = sum(one.is_open and one.use_case in ("", use_case) for one in book.incidents)
            yield Finding(
                kind="heartbeat",
                use_case=use_case,
                subject="alerts",
                passed=False,
                severity=about.severity("heartbeat"),
                why=f"alerts work; {going_on} incidents go on.",
                notice=True,
            )
