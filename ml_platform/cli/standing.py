"""How a use case stands: what is published of each stage and step, its red checks, its gates and its champion.

Everything is read from the event log, the decisions and the ledger, in a number of queries that does not grow with the
partitions.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from ml_platform.alerts.incidents import open_incidents
from ml_platform.alerts.messages import headline
from ml_platform.cli.project import Project
from ml_platform.components.use_case import stage_definitions
from ml_platform.partitions import span
from ml_platform.stages import ledger
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.record import metadata_of, newest_materializations
from ml_platform.stages.work import Work
from ml_platform.use_case import Stage, UseCase

if TYPE_CHECKING:
    from dagster._core.storage.asset_check_execution_record import AssetCheckPartitionInfo


@dataclass(frozen=True)
class Published:
    """What is published of a stage, or of all stages of a step; without partitions there are only moment and checks.

    `expected` is the newest partition there could be now. Of the partitions that could be there, `late` lie after the
    newest that is published, and `gaps` between the first and the newest.
    """

    name: str
    expected: str | None
    newest: str | None
    partitions: int | None
    published: int | None
    late: int | None
    gaps: int | None
    materialized_at: str | None
    red_checks: list[str]


@dataclass(frozen=True)
class Champion:
    """The champion by the ledger; its metrics as it was made champion on, empty where that evaluation was replaced."""

    version: int
    since: str
    cutoff: str
    until: str | None
    metrics: dict[str, float]


@dataclass(frozen=True)
class Decision:
    """The newest decision of promotion: on which cutoff and version, why, and of each gate why it failed, or None."""

    cutoff: str | None
    version: int
    promoted: bool
    reason: str
    gates: dict[str, str | None]


@dataclass(frozen=True)
class Standing:
    """How a use case stands."""

    use_case: str
    champion: Champion | None
    decision: Decision | None
    steps: list[Published]
    stages: list[Published]
    incidents: list[str]


def standing(project: Project, name: str) -> Standing:
    """How a use case stands now."""
    work = project.work(name)
    use_case, instance = work.use_case, project.instance
    steps = {
        step: [asset for stage in stages for asset in stage.assets]
        for step, stages in stage_definitions(use_case).items()
    }
    keys = {asset: asset_key(use_case, asset) for assets in steps.values() for asset in assets}
    records = {one.asset_entry.asset_key: one.asset_entry for one in instance.get_asset_records(list(keys.values()))}
    checks = [
        one for one in project.definitions.resolve_asset_graph().asset_check_keys if one.asset_key.path[0] == name
    ]
    verdicts = instance.event_log_storage.get_asset_check_partition_info(list(checks))
    gates = {gate.name for gate in use_case.gates}
    found: dict[Stage, tuple[set[str], float, list[str]]] = {}
    for asset, key in keys.items():
        entry = records.get(key)
        there = instance.get_materialized_partitions(key) if project.partitions(key) and entry else set()
        at = entry.last_materialization.timestamp if entry and entry.last_materialization else 0.0
        found[asset] = there, at, _red([one for one in verdicts if one.check_key.asset_key == key], gates)
    stages = [_published(asset, project, keys[asset], *one) for asset, one in found.items()]
    grouped = [
        _published(
            step,
            project,
            keys[assets[0]],
            set.intersection(*(found[asset][0] for asset in assets)),
            max(found[asset][1] for asset in assets),
            [f"{asset} {red}" for asset in assets for red in found[asset][2]],
        )
        for step, assets in steps.items()
    ]
    decided = next(one for one in stages if one.name == "promotion")
    decision = _decision(work, decided.newest) if decided.materialized_at else None
    incidents = [headline(one) for one in open_incidents(work.lake, name)]
    return Standing(name, _champion(work), decision, grouped, stages, incidents)


def _published(
    name: str, project: Project, key: dg.AssetKey, there: Collection[str], at: float, red: list[str]
) -> Published:
    moment, definition = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}" if at else None, project.partitions(key)
    if definition is None:
        return Published(name, None, None, None, None, None, None, moment, red)
    expected = list(definition.get_partition_keys())
    held = [one for one in expected if one in there]
    late = sum(one > held[-1] for one in expected) if held else len(expected)
    gaps = sum(held[0] < one < held[-1] for one in expected) - max(len(held) - 2, 0) if held else 0
    newest = held[-1] if held else None
    last = expected[-1] if expected else None
    return Published(name, last, newest, len(expected), len(held), late, gaps, moment, red)


def _red(verdicts: Iterable["AssetCheckPartitionInfo"], gates: Collection[str]) -> list[str]:
    """The checks whose newest verdict on a partition is a failure, with these partitions; gates are none of them."""
    red: dict[str, list[str]] = {}
    for one in verdicts:
        if one.latest_execution_status.value == "FAILED" and one.check_key.name not in gates:
            red.setdefault(one.check_key.name, []).append(one.partition_key or "")
    return [f"{name} {span(sorted(partitions))}".strip() for name, partitions in sorted(red.items())]


def _decision(work: Work, cutoff: str | None) -> Decision:
    row = work.rows("promotion", [cutoff]).collect().row(0, named=True)
    return Decision(cutoff, row["version"], row["decision"] == "promoted", row["reason"], json.loads(row["gates"]))


def _champion(work: Work) -> Champion | None:
    last = ledger.read(work).last
    if last is None or last.version is None:
        return None
    evaluation = _metadata(work, asset_key(work.use_case, "evaluation"), last.cutoff or None)
    same = evaluation.get(DATA_VERSION_TAG) == last.evaluation
    metrics = {name: evaluation[name] for name in _shown(work.use_case) if name in evaluation} if same else {}
    until = f"{last.until}" if last.until and last.holds(datetime.now(UTC).date()) else None
    return Champion(last.version, f"{last.at:%Y-%m-%d %H:%M}", last.cutoff, until, metrics)


def _shown(use_case: UseCase) -> list[str]:
    """The metrics that gates look at."""
    return list(dict.fromkeys(gate.metric for gate in use_case.gates))


def _metadata(work: Work, key: dg.AssetKey, cutoff: str | None) -> dict[str, Any]:
    """What the newest materialization of a cutoff says, with its data version."""
    record = newest_materializations(work.instance, key, [cutoff]).get(cutoff)
    event = record.asset_materialization if record else None
    if event is None:
        return {}
    return {**metadata_of(event), **(event.tags or {})}
