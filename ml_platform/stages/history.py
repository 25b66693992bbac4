"""Why a partition is as it is, in sentences, from what was recorded and from what would be computed now."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as JUDGED,
)

from ml_platform.fingerprints import Recipe
from ml_platform.io_managers.publishing import Key
from ml_platform.stages.definition import StageDefinition
from ml_platform.stages.execution import MADE_OF, UNCHANGED, fingerprinted
from ml_platform.stages.monitoring import RETRAINING
from ml_platform.stages.recipes import load
from ml_platform.stages.record import metadata_of
from ml_platform.stages.work import Work

MANY = 200


def explain(work: Work, stage: StageDefinition, key: Key) -> list[str]:
    """Sentences on a partition of a stage: what was done last and why, and what a run would do now."""
    spec, recipe = stage.assets[stage.name], stage.recipe()
    records = _records(work.instance, spec.key, key)
    computed = [one for one in records if UNCHANGED not in _metadata(one)]
    sentences = []
    if computed:
        before = _metadata(computed[1]) if len(computed) > 1 else {}
        causes = list(_changes(work, before, _metadata(computed[0])))
        sentences.append(f"It was computed {_when(computed[0].timestamp, computed[0].run_id)}, because {_and(causes)}.")
    if records and records[0] is not (computed[0] if computed else None):
        sentences.append(
            f"It was skipped {_when(records[0].timestamp, records[0].run_id)}, because nothing had changed."
        )
    if records and RETRAINING in _metadata(records[0]):
        sentences.append(str(_metadata(records[0])[RETRAINING]["why"]))
    sentences += _refusals(work.instance, stage, key, records[0].timestamp if records else 0)
    prepared, versions = fingerprinted(work, stage, recipe, [key])
    published = work.data_versions(stage.name, [key])[key]
    missing = [name for name, version in prepared.inputs[key].items() if not version]
    if published == versions[key]:
        sentences.append("It is up to date: a run would skip it.")
    elif missing:
        sentences.append(f"It cannot be computed: {_and(missing)} is missing; materialize it first.")
    else:
        now = {MADE_OF: {"recipe": recipe.digest, "inputs": prepared.inputs[key]}}
        causes = list(_changes(work, _metadata(records[0]) if records else {}, now, recipe))
        sentences.append(f"A run would compute it: {_and(causes)}.")
    return sentences


def _records(instance: dg.DagsterInstance, key: dg.AssetKey, partition: Key) -> list[dg.EventLogRecord]:
    """The materializations of a partition, the newest first."""
    which = dg.AssetRecordsFilter(key, asset_partitions=[partition] if partition else None)
    return list(instance.fetch_materializations(which, limit=MANY).records)


def _metadata(record: dg.EventLogRecord) -> dict[str, Any]:
    return metadata_of(record.asset_materialization)


def _when(moment: float, run_id: str) -> str:
    return f"on {datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC in run {run_id[:8]}"


def _changes(
    work: Work, before: Mapping[str, Any], after: Mapping[str, Any], new: Recipe | None = None
) -> Iterator[str]:
    """What differs between two states of a partition: data, code, configuration, environment."""
    if MADE_OF not in before:
        yield "it had never been computed" if not before else "it is not known what it was made of"
        return
    old_inputs, inputs = before[MADE_OF]["inputs"], after[MADE_OF]["inputs"]
    changed = [name for name, version in inputs.items() if old_inputs.get(name) != version]
    if changed:
        yield f"data changed: {_and(changed)}"
    if before[MADE_OF]["recipe"] != after[MADE_OF]["recipe"]:
        old, new = load(work.lake, before[MADE_OF]["recipe"]), new or load(work.lake, after[MADE_OF]["recipe"])
        for part, then, now in (
            ("code", old.code, new.code),
            ("configuration", old.config, new.config),
            ("environment", old.environment, new.environment),
        ):
            names = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
            if names and part == "code":
                yield f"code changed: {_and(names)}"
            elif names:
                values = [f"{name} ({then.get(name, 'none')} -> {now.get(name, 'none')})" for name in names]
                yield f"{part} changed: {_and(values)}"
    elif not changed:
        yield "it was forced" if new is None else "an acceptance was given or has expired"


def _refusals(instance: dg.DagsterInstance, stage: StageDefinition, key: Key, since: float) -> Iterator[str]:
    """What each check said of a partition after a moment, where that kept it from being published."""
    for check in stage.checks:
        found = instance.event_log_storage.get_asset_check_execution_history(
            check.key, limit=1, status=JUDGED, partition_filter=PartitionKeyFilter(key=key)
        )
        for one in found:
            verdict = one.evaluation
            refuses = verdict and verdict.blocking and verdict.severity is dg.AssetCheckSeverity.ERROR
            if verdict and refuses and not verdict.passed and one.create_timestamp > since:
                when = _when(one.create_timestamp, one.run_id)
                yield f"It was refused {when} by the check {check.name}: {verdict.description}"


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
