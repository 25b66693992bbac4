"""The daily job that removes what nobody needs any more."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import Field

from ml_platform.housekeeping.records import prune_records
from ml_platform.resources.registry import Version
from ml_platform.stages.attributes import asset_key, stored_by
from ml_platform.stages.model import FEATURES_TAG, HOLD_OUT_TAG
from ml_platform.stages.work import RESOURCES, Work
from ml_platform.use_case import STAGES, UseCase

NAME = "housekeeping"
DAYS = 30


class Retention(dg.Config):
    """How long what is not needed is kept, in days."""

    runs: int = Field(default=DAYS, ge=0, description="Runs that have ended, with their events and logs.")
    tables: int = Field(default=DAYS, ge=1, description="Old commits of tables: what `load(version=...)` can read.")
    models: int = Field(default=DAYS, ge=1, description="Models that were never registered, and failed runs in MLflow.")


def housekeeping(use_cases: Callable[[], Iterable[UseCase]]) -> dg.Definitions:
    """The job `housekeeping` over some use cases, and its schedule, which is off until it is switched on."""

    @dg.op(name=f"{NAME}_step", required_resource_keys=RESOURCES)
    def step(context: dg.OpExecutionContext, config: Retention) -> None:
        stored = {key: getattr(context.resources, key) for key in RESOURCES}
        now = datetime.now(UTC)
        removed = {"runs": prune_records(context.instance, now - timedelta(days=config.runs)), "files": 0, "models": 0}
        works = [Work(use_case, **stored, instance=context.instance, context=context) for use_case in use_cases()]
        for work in works:
            removed["files"] += vacuum(work, timedelta(days=config.tables))
        try:
            for work in works:
                removed["models"] += remove_models(work, now - timedelta(days=config.models))
        except ValueError as error:  # whatever else there is, is removed
            raise dg.Failure(str(error), removed, allow_retries=False) from error
        context.add_output_metadata({f"{name}_removed": number for name, number in removed.items()})

    description = (
        "Removes old runs, events and logs, old commits of tables, and models never registered. It keeps the newest "
        "record of each partition, and all that a registered version was made of."
    )
    job = dg.GraphDefinition(name=NAME, node_defs=[step]).to_job(description=description)
    return dg.Definitions(jobs=[job], schedules=[dg.ScheduleDefinition(job=job, cron_schedule="30 4 * * *")])


def vacuum(work: Work, older_than: timedelta) -> int:
    """Remove the files of a use case's tables that no commit needs which is newer or was trained on; their number."""
    kept = commits_needed(work, work.registry.versions(work.use_case.registry.name))
    removed = 0
    for stage in STAGES:
        table = work.lake.table(asset_key(work.use_case, stage))
        if stored_by(stage) == "tables" and table.exists():
            removed += table.vacuum(older_than, kept if stage == "features" else ())
    return removed


def commits_needed(work: Work, versions: Iterable[Version]) -> set[int]:
    """The commits of the features that these versions were trained and judged on."""
    runs = {run_id for version in versions for run_id in (version.run_id, version.judged_run_id)}
    tags = [work.tracking.run_of(run_id).tags for run_id in runs]
    return {int(found[tag]) for found in tags for tag in (FEATURES_TAG, HOLD_OUT_TAG) if tag in found}


def remove_models(work: Work, before: datetime) -> int:
    """Remove the models of a use case that ended before a moment and were never registered; their number."""
    from ml_platform.resources.unused_runs import remove_unused_runs

    versions = work.registry.versions(work.use_case.registry.name)
    registered = {run_id for version in versions for run_id in (version.run_id, version.judged_run_id)}
    return remove_unused_runs(work.tracking, work.use_case.name, registered, before)
