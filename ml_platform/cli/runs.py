"""The history of a use case's runs: which succeeded, and how long it took to recover from those that did not."""

from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

from ml_platform.cli.execution import RANGE_END_TAG, RANGE_START_TAG

PARTITION_TAG = "dagster/partition"
ENDED = {dg.DagsterRunStatus.SUCCESS: True, dg.DagsterRunStatus.FAILURE: False, dg.DagsterRunStatus.CANCELED: False}


@dataclass(frozen=True)
class Run:
    """A run that has ended, with its assets and partitions; moments are in UTC.

    `recovered_after` is for one that failed the seconds from its end to that of the next success of the same assets
    and partitions, None where there was none so far.
    """

    id: str
    assets: str
    partitions: str
    succeeded: bool
    began: datetime
    ended: datetime
    recovered_after: float | None


def runs_of(instance: dg.DagsterInstance, name: str) -> list[Run]:
    """The runs of a use case's assets that have ended, by their end."""
    records = instance.get_run_records(filters=dg.RunsFilter(statuses=list(ENDED)))
    runs: list[Run] = []
    next_success: dict[tuple[str, str], float] = {}
    for record in sorted(records, key=lambda one: one.end_time or 0, reverse=True):
        run, end = record.dagster_run, record.end_time
        assets = " ".join(sorted(key.path[-1] for key in run.asset_selection or () if key.path[0] == name))
        if not assets or end is None or record.start_time is None:
            continue
        succeeded, chosen = ENDED[run.status], (assets, _partitions(run))
        after = None if succeeded or chosen not in next_success else next_success[chosen] - end
        if succeeded:
            next_success[chosen] = end
        began, ended = (datetime.fromtimestamp(one, UTC).replace(tzinfo=None) for one in (record.start_time, end))
        runs.append(Run(run.run_id, *chosen, succeeded, began, ended, after))
    return runs[::-1]


def _partitions(run: dg.DagsterRun) -> str:
    if RANGE_START_TAG in run.tags:
        return f"{run.tags[RANGE_START_TAG]} .. {run.tags[RANGE_END_TAG]}"
    return run.tags.get(PARTITION_TAG, "")
