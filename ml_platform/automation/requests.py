"""Requests for runs over partitions: as few runs as possible, one after another, none for what a run is at."""

from collections.abc import Collection, Sequence

import dagster as dg
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from ml_platform.io_managers.publishing import Key
from ml_platform.partitions import data_partitions, lookback_steps
from ml_platform.stages.attributes import asset_key
from ml_platform.use_case import Stage, UseCase
from ml_platform.use_case.words import DATA

JOB = IMPLICIT_ASSET_JOB_NAME  # of all assets: a job for each schedule and sensor would be most of what is loaded
LANE_TAG = "ml_platform/automation"
"""The use case whose automation asked for a run; dagster.yaml lets only one run of each go on at a time."""
RANGE_TAGS = (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG)
MOST_RUNS = 10


def run_requests(
    use_case: UseCase, stages: Sequence[Stage], keys: Sequence[Key], run_key: str | None = None
) -> list[dg.RunRequest]:
    """Runs of some stages over these partitions; `run_key` and the first partition name each.

    Days that look back at each other are in one run, and what would be more than `MOST_RUNS` is one.
    """
    near = 1 + lookback_steps(use_case) if stages == DATA else 1
    selection = [asset_key(use_case, stage) for stage in stages]
    found = []
    for first, last in _ranges(use_case, keys, near):
        tags = {LANE_TAG: use_case.name}
        if first is not None and last is not None:
            tags |= dict(zip(RANGE_TAGS, (first, last), strict=True))
        name = None if run_key is None else f"{run_key} {stages[0]} {first or ''}".strip()
        found.append(dg.RunRequest(run_key=name, tags=tags, asset_selection=selection))
    return found


def _ranges(use_case: UseCase, keys: Sequence[Key], near: int) -> list[tuple[Key, Key]]:
    """The first and the last partition of each run; those in one are so many steps apart at most."""
    definition = data_partitions(use_case)
    if definition is None:
        return [(key, key) for key in keys]
    position = {key: number for number, key in enumerate(definition.get_partition_keys())}
    ranges: list[tuple[Key, Key]] = []
    for key in sorted(keys, key=str):
        if ranges and position[str(key)] - position[str(ranges[-1][1])] <= near:
            ranges[-1] = (ranges[-1][0], key)
        else:
            ranges.append((key, key))
    return ranges if len(ranges) <= MOST_RUNS else [(ranges[0][0], ranges[-1][1])]


def running(instance: dg.DagsterInstance, use_case: UseCase) -> list[dg.DagsterRun]:
    """The runs that a use case's automation has asked for and that have not ended, waiting ones too."""
    which = dg.RunsFilter(tags={LANE_TAG: use_case.name}, statuses=list(NOT_FINISHED_STATUSES))
    return list(instance.get_runs(which))


def not_running(instance: dg.DagsterInstance, use_case: UseCase, stage: Stage, keys: Collection[Key]) -> list[Key]:
    """Those of some partitions of a stage that no such run is at."""
    free = list(keys)
    for run in running(instance, use_case):
        if asset_key(use_case, stage) in (run.asset_selection or ()):
            first, last = (run.tags.get(tag) for tag in RANGE_TAGS)
            free = [key for key in free if not (key is None or (first and last and first <= key <= last))]
    return free


def waits_for(instance: dg.DagsterInstance, use_case: UseCase) -> dg.SkipReason | None:
    """Why a sensor looks again later: what comes meanwhile is one run then, and not one each time it looks."""
    runs = running(instance, use_case)
    return dg.SkipReason(f"Waits for run {runs[0].run_id[:8]} of {use_case.name}.") if runs else None
