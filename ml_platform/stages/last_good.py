"""Partitions that are served by their last good value, where the use case asks for it, and models made of them."""

from collections.abc import Collection

import dagster as dg

from ml_platform.io_managers.publishing import Key
from ml_platform.partitions import known_by, span
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.record import materialization, newest_materializations
from ml_platform.stages.work import Work
from ml_platform.use_case import Stage, UseCase

LAST_GOOD, TRAINED_ON = "last_good", "trained_on_last_good"
CHECK = "trained_on_good_data"
STAGES: tuple[Stage, ...] = ("raw_data", "validated_data", "features")


def is_asked_for(use_case: UseCase) -> bool:
    """Whether refused partitions are to be marked."""
    return use_case.failures.data.do == LAST_GOOD


def still_served(work: Work, stage: Stage, refused: Collection[Key]) -> list[dg.AssetMaterialization]:
    """The records of refused partitions that keep an earlier value, marked as such; none unless it is asked for."""
    if not is_asked_for(work.use_case):
        return []
    key = asset_key(work.use_case, stage)
    versions, newest = work.data_versions(stage, list(refused)), newest_materializations(work.instance, key, refused)
    return [
        materialization(key, partition, version, {**before.metadata, LAST_GOOD: True})
        for partition, version in versions.items()
        if version and partition in newest and (before := newest[partition].asset_materialization)
    ]


def among(work: Work, cutoff: Key) -> dict[str, str]:
    """The metadata of a model: the partitions that it could know and that are marked; nothing where there are none."""
    if not is_asked_for(work.use_case):
        return {}
    keys = known_by(work.use_case, cutoff)
    marked = {
        str(key)
        for stage in STAGES
        for key, one in newest_materializations(work.instance, asset_key(work.use_case, stage), keys).items()
        if one.asset_materialization and LAST_GOOD in one.asset_materialization.metadata
    }
    return {TRAINED_ON: span(sorted(marked))} if marked else {}


def problem(work: Work, cutoff: Key) -> str | None:
    """Why the model of a cutoff must not become champion, by what it was trained on, or None."""
    newest = newest_materializations(work.instance, asset_key(work.use_case, "model"), [cutoff]).get(cutoff)
    if newest is None or newest.asset_materialization is None:
        return None
    marked = newest.asset_materialization.metadata.get(TRAINED_ON)
    if marked is None:
        return None
    return f"it was trained on the last good value of {marked.value}, whose new data was refused; mend it, run again."
