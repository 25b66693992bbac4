"""The sensor on new and changed files of a source."""

from collections import defaultdict
from collections.abc import Collection
from typing import cast

import dagster as dg
from dagster._time import get_current_timestamp

from ml_platform.automation.due import published
from ml_platform.automation.listing import File, digest_of, keep, kept, listed, put_there
from ml_platform.automation.requests import JOB, run_requests, waits_for
from ml_platform.io_managers.publishing import Key
from ml_platform.partitions import data_partitions, looking_back_at, span
from ml_platform.resources.lake import Lake
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.record import newest_materializations
from ml_platform.use_case import FilesSource, UseCase
from ml_platform.use_case.words import DATA

AT_REST = 5  # seconds: a file that was modified later may not be whole
CLOCKS_DIFFER = 600  # seconds at most, between the machine of the files and this one


def files_sensor(use_case: UseCase, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The partitions of files that are new or changed, in one run whatever their number."""

    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        source, definition = use_case.source, data_partitions(use_case)
        assert isinstance(source, FilesSource)
        assert definition is not None
        lake, before = cast(Lake, context.resources.lake), context.cursor
        over = list(definition.get_partition_keys())
        files = listed(source.path, set(over))
        if before == digest_of(files):
            return dg.SkipReason(f"None of {len(files):,} files is new or changed.")
        if waiting := waits_for(context.instance, use_case):
            return waiting
        known = kept(lake, use_case.name, before)
        unfinished = _unfinished(files - known)
        files = {one for one in files if one.partition not in unfinished} | {
            one for one in known if one.partition in unfinished
        }
        there = {one.partition for one in files}
        touched = {one.partition for one in files ^ known} & there
        new = touched - {one.partition for one in known}
        changed = touched - _read_already(context.instance, use_case, {one for one in files if one.partition in new})
        cursor = keep(lake, use_case.name, files, before)
        if not changed:
            said = (
                f"{span(sorted(unfinished))} is still being written." if unfinished else "The files are read already."
            )
            return dg.SensorResult(skip_reason=said, cursor=cursor)
        done = published(context.instance, use_case, "features")
        wanting = [key for key in looking_back_at(use_case, changed) if key not in done and key in there]
        return dg.SensorResult(run_requests=run_requests(use_case, DATA, [*changed, *wanting]), cursor=cursor)

    return dg.SensorDefinition(
        name=f"{use_case.name}__files",
        job_name=JOB,
        evaluation_fn=look,
        required_resource_keys={"lake"},
        default_status=status,
        description="Brings in the partitions whose files are new or changed.",
    )


def _unfinished(changed: Collection[File]) -> set[str]:
    """The partitions of files that may still be written to."""
    now = get_current_timestamp()
    return {one.partition for one in changed if 0 <= now - one.modified / 1e9 < AT_REST}


def _read_already(instance: dg.DagsterInstance, use_case: UseCase, files: Collection[File]) -> set[Key]:
    """The partitions of files that nobody has looked at before, but that a run has read since they are there."""
    by_partition = defaultdict[Key, list[File]](list)
    for one in files:
        by_partition[one.partition].append(one)
    newest = newest_materializations(instance, asset_key(use_case, "raw_data"), by_partition.keys())
    runs = instance.get_run_records(dg.RunsFilter(run_ids=[one.run_id for one in newest.values()])) if newest else []
    began = {one.dagster_run.run_id: one.start_time or 0 for one in runs}
    return {
        key for key, one in newest.items() if put_there(by_partition[key]) + CLOCKS_DIFFER < began.get(one.run_id, 0)
    }
