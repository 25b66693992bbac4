"""Where a registered version comes from: data by partition, code, parameters, environment, runs and moves."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from ml_platform.errors import UserError
from ml_platform.io_managers.publishing import Key
from ml_platform.partitions import known_by, looked_at
from ml_platform.resources.registry import USE_CASE_TAG, Version
from ml_platform.resources.tracking import RunRecord
from ml_platform.stages import ledger
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.model import RECIPE_TAG
from ml_platform.stages.recipes import load
from ml_platform.stages.surroundings import COMMIT_TAG, environment
from ml_platform.stages.work import Work
from ml_platform.use_case import Stage
from ml_platform.versions.moves import shown

PAGE = 1_000
SHOWN = ("source_fingerprint", "table_version")


def trace(work: Work, version: Version) -> dict[str, Any]:
    """All that a version was made of, and what became of it; partitions as they were when it was trained.

    Raises:
        UserError: the version was not trained here.
    """
    run = run_of(work, version)
    recipe = load(work.lake, run.tags[RECIPE_TAG])
    features = known_by(work.use_case, version.cutoff or None)
    looked = sorted({key for found in looked_at(work.use_case, features).values() for key in found}, key=str)
    before = run.began
    return {
        "version": f"{version.name}@{version.number}",
        "cutoff": version.cutoff or None,
        "mlflow_run": version.run_id,
        "dagster_run": run.tags["dagster_run_id"],
        "model": run.params,
        "metrics": run.metrics,
        "git_commit": run.tags.get(COMMIT_TAG),
        "code": dict(recipe.code),
        "config": dict(recipe.config),
        "environment": environment(recipe.environment, run.tags),
        "features": _partitions(work, "features", features, before),
        "validated_data": _partitions(work, "validated_data", looked, before),
        "raw_data": _partitions(work, "raw_data", looked, before),
        "moves": [shown(one) for one in ledger.read(work).of(version)],
    }


def run_of(work: Work, version: Version) -> RunRecord:
    """The run that trained a version.

    Raises:
        UserError: the version was not trained here.
    """
    run = work.tracking.run_of(version.run_id) if version.run_id else None
    if run is None or RECIPE_TAG not in run.tags or USE_CASE_TAG not in version.tags:
        raise UserError(
            f"version {version.number} was put into MLflow by hand; nothing is recorded of what it was made of."
        )
    return run


def _partitions(work: Work, stage: Stage, keys: Iterable[Key], before: float) -> dict[str, Mapping[str, Any]]:
    """Of each partition what its newest materialization before a moment, in seconds since the epoch, says."""
    wanted = [str(key) for key in keys if key is not None]
    which = dg.AssetRecordsFilter(
        asset_key(work.use_case, stage), asset_partitions=wanted or None, before_timestamp=before
    )
    found: dict[str, Mapping[str, Any]] = {}
    cursor, has_more = None, True
    while has_more and len(found) < max(1, len(wanted)):
        page = work.instance.fetch_materializations(which, limit=PAGE, cursor=cursor)  # the newest first
        cursor, has_more = page.cursor, page.has_more
        for record in page.records:
            event = record.asset_materialization
            if event is not None and (key := record.partition_key or "all") not in found:
                more = {name: event.metadata[name].value for name in SHOWN if name in event.metadata}
                version = (event.tags or {}).get(DATA_VERSION_TAG)
                found[key] = {"data_version": version, "dagster_run": record.run_id, **more}
    return dict(sorted(found.items()))
