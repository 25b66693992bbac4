"""The readings of all series, from the instance's storage: runs that crashed are in it too."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from ml_platform.alerts.incidents import open_incidents
from ml_platform.exporter import series
from ml_platform.exporter.series import Series
from ml_platform.resources.lake import Lake
from ml_platform.stages.attributes import ROW_COUNTS, STAGE_TAG
from ml_platform.stages.record import metadata_of
from ml_platform.use_case.words import MODEL, SEVERITIES

BY_METADATA = {
    "wall_seconds": series.WALL,
    "cpu_seconds": series.CPU,
    "peak_memory_bytes": series.MEMORY,
    **dict.fromkeys(ROW_COUNTS, series.ROWS),
}


@dataclass(frozen=True)
class Reading:
    """The value of a series for values of its labels, in their order."""

    series: Series
    labels: Sequence[str]
    value: float


def readings(instance: dg.DagsterInstance, graph: AssetGraph, lake: Lake) -> Iterator[Reading]:
    """All readings of now."""
    yield from _runs(instance)
    yield from _assets(instance, graph)
    yield from _checks(instance, graph)
    yield from _ticks(instance)
    counts = Counter((one.use_case, one.severity) for one in open_incidents(lake))
    for use_case in {"", *(key.path[0] for key in graph.materializable_asset_keys)}:
        yield from (Reading(series.INCIDENTS, [use_case, one], counts[use_case, one]) for one in SEVERITIES)
    for daemon, beat in instance.get_daemon_heartbeats().items():
        yield Reading(series.HEARTBEAT, [daemon], beat.timestamp)


def _runs(instance: dg.DagsterInstance) -> Iterator[Reading]:
    for status in dg.DagsterRunStatus:
        chosen = dg.RunsFilter(statuses=[status])
        yield Reading(series.RUNS, [status.value], instance.get_runs_count(chosen))
        for record in instance.get_run_records(chosen, limit=1):
            if record.end_time is not None:
                yield Reading(series.RUN_ENDED, [status.value], record.end_time)


def _assets(instance: dg.DagsterInstance, graph: AssetGraph) -> Iterator[Reading]:
    keys = [key for key in graph.materializable_asset_keys if STAGE_TAG in graph.get(key).tags]
    ledgers = {dg.AssetKey([key.path[0], "ledger"]) for key in keys}
    records = {one.asset_entry.asset_key: one.asset_entry for one in instance.get_asset_records([*keys, *ledgers])}
    for key in keys:
        use_case, stage = key.path[0], graph.get(key).tags[STAGE_TAG]
        yield from _partitions(instance, graph, key, [use_case, stage])
        if key in records and (last := records[key].last_materialization):
            yield from _newest(use_case, stage, last)
    for key in sorted(ledgers & records.keys()):
        if last := records[key].last_materialization:
            yield Reading(series.CHAMPION, [key.path[0]], metadata_of(last.asset_materialization).get("version") or 0)
            yield Reading(series.CHAMPION_SINCE, [key.path[0]], last.timestamp)


def _newest(use_case: str, stage: str, last: dg.EventLogEntry) -> Iterator[Reading]:
    """What the newest materialization of a stage tells."""
    labels, metadata = [use_case, stage], metadata_of(last.asset_materialization)
    yield Reading(series.PUBLISHED, labels, last.timestamp)
    yield from (Reading(one, labels, metadata[name]) for name, one in BY_METADATA.items() if name in metadata)
    if stage == "evaluation":
        yield from _metrics(use_case, metadata)
    if stage == "monitoring":
        for name, value in metadata.items():
            if name not in BY_METADATA and isinstance(value, int | float):
                yield Reading(series.MONITORING, [use_case, name], value)


def _partitions(
    instance: dg.DagsterInstance, graph: AssetGraph, key: dg.AssetKey, labels: Sequence[str]
) -> Iterator[Reading]:
    definition = graph.get(key).partitions_def
    if not isinstance(definition, dg.TimeWindowPartitionsDefinition):
        return
    published = instance.get_materialized_partitions(key)
    yield Reading(series.PARTITIONS, [*labels, "published"], len(published))
    yield Reading(series.PARTITIONS, [*labels, "expected"], definition.get_num_partitions())
    for one, newest in (
        (series.NEWEST, max(published, default=None)),
        (series.EXPECTED, definition.get_last_partition_key()),
    ):
        if newest is not None:
            window = definition.time_window_for_partition_key(newest)
            reached = window.start if labels[1] in MODEL else window.end
            yield Reading(one, labels, reached.timestamp())


def _metrics(use_case: str, metadata: dict[str, Any]) -> Iterator[Reading]:
    for metric, (low, high) in metadata["intervals"].items():
        baselines = {name: values.get(metric) for name, values in metadata["baselines"].items()}
        for of, value in {"model": metadata[metric], "low": low, "high": high, **baselines}.items():
            if value is not None:
                yield Reading(series.METRIC, [use_case, metric, of], value)


def _checks(instance: dg.DagsterInstance, graph: AssetGraph) -> Iterator[Reading]:
    checks = [key for key in graph.asset_check_keys if STAGE_TAG in graph.get(key.asset_key).tags]
    red = dict.fromkeys(checks, 0)
    for one in instance.event_log_storage.get_asset_check_partition_info(checks):
        red[one.check_key] += one.latest_execution_status.value == "FAILED"
    for check, count in red.items():
        use_case, stage = check.asset_key.path[0], graph.get(check.asset_key).tags[STAGE_TAG]
        yield Reading(series.CHECKS_RED, [use_case, stage, check.name], count)


def _ticks(instance: dg.DagsterInstance) -> Iterator[Reading]:
    for state in instance.all_instigator_state():
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1):
            kind = state.instigator_type.value.lower()
            yield Reading(series.TICK, [state.instigator_name, kind, tick.status.value], tick.timestamp)
