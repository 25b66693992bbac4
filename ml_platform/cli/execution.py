"""Execution of stages in this process: the job, gates and event log of the UI, without waiting for the daemon."""

from collections.abc import Callable, Sequence
from uuid import uuid4

import dagster as dg

from ml_platform.cli.project import Project
from ml_platform.stages.execution import FORCE_TAG
from ml_platform.use_case import Stage

# an asset run over a range of partitions is told the range by these two tags
RANGE_START_TAG, RANGE_END_TAG = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
Listener = Callable[[dg.EventLogEntry], None]


def run_stages(
    project: Project,
    use_case: str,
    stages: Sequence[Stage],
    partitions: Sequence[str] | None,
    listener: Listener,
    *,
    force: bool = False,
) -> bool:
    """Materialize stages over partitions in one run; True if nothing failed or was refused."""
    run_id = str(uuid4())
    project.instance.add_event_listener(run_id, listener)
    tags = {RANGE_START_TAG: partitions[0], RANGE_END_TAG: partitions[-1]} if partitions else {}
    result = project.job.execute_in_process(
        run_id=run_id,
        instance=project.instance,
        asset_selection=[dg.AssetKey([use_case, stage]) for stage in stages],
        tags={**tags, FORCE_TAG: "true"} if force else tags,
        run_config=QUIET,
        raise_on_error=False,
    )
    return result.success
