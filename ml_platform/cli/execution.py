"""Execution of stages in this process: the job, gates and event log of the UI, without waiting for the daemon."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from uuid import uuid4

import dagster as dg

from ml_platform.cli.project import Project
from ml_platform.use_case import Stage

# an asset run over a range of partitions is told the range by these two tags
RANGE_START_TAG, RANGE_END_TAG = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
Listener = Callable[[dg.EventLogEntry], None]


def run_stages(
    project: Project, use_case: str, stages: Sequence[Stage], partitions: Sequence[str] | None, listener: Listener
) -> bool:
    """Materialize stages over partitions; True if nothing failed or was refused.

    All stages share one run. Where a stage refuses some partitions, Dagster skips the stages after it; these are then
    run for the partitions that it published, so that one bad day does not cost the others.
    """
    succeeded, published = _run(project, use_case, stages, partitions, listener)
    if succeeded:
        return True
    for position, stage in enumerate(stages[:-1]):
        rest = [later for later in stages[position + 1 :] if later not in published]
        if partitions is None or not rest or set(partitions) == published.get(stage, set()):
            continue
        for span in _spans(partitions, published.get(stage, set())):
            run_stages(project, use_case, rest, span, listener)
        break
    return False


def _run(
    project: Project, use_case: str, stages: Sequence[Stage], partitions: Sequence[str] | None, listener: Listener
) -> tuple[bool, dict[Stage, set[str]]]:
    """One run; whether it succeeded, and the partitions that each stage published in it."""
    run_id = str(uuid4())
    published: dict[Stage, set[str]] = {}

    def listen(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event and event.is_step_materialization and event.asset_key and event.partition:
            published.setdefault(event.asset_key.path[-1], set()).add(event.partition)  # type: ignore[arg-type]
        listener(entry)

    project.instance.add_event_listener(run_id, listen)
    result = project.job.execute_in_process(
        run_id=run_id,
        instance=project.instance,
        asset_selection=[dg.AssetKey([use_case, stage]) for stage in stages],
        tags={RANGE_START_TAG: partitions[0], RANGE_END_TAG: partitions[-1]} if partitions else None,
        run_config=QUIET,
        raise_on_error=False,
    )
    return result.success, published


def _spans(partitions: Sequence[str], chosen: set[str]) -> Iterator[list[str]]:
    """The chosen partitions as runs without gaps."""
    for wanted, span in groupby(partitions, key=lambda key: key in chosen):
        if wanted:
            yield list(span)
