"""What all stages of a use case share: keys, owners, groups, kinds, partitions and check specifications."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from ml_platform.partitions import LONGEST, accepted_previews, cutoff_partitions, data_partitions
from ml_platform.use_case import Stage, UseCase
from ml_platform.use_case.words import MODEL

LATE = timedelta(hours=12)
STAGE_TAG = "ml_platform/stage"
STORED_BY: dict[Stage, str] = {"model": "models", "evaluation": "reports"}


def asset_key(use_case: UseCase, stage: Stage) -> dg.AssetKey:
    """The key of a stage's asset: `card_fraud/features`."""
    return dg.AssetKey([use_case.name, stage])


def asset_partitions(use_case: UseCase, stage: Stage) -> dg.TimeWindowPartitionsDefinition | None:
    """The partitions of a stage's asset: cutoffs for what belongs to a model, event time for tables."""
    return cutoff_partitions(use_case) if stage in MODEL else data_partitions(use_case)


def stored_by(stage: Stage) -> str:
    """The key of the I/O manager of a stage's asset."""
    return STORED_BY.get(stage, "tables")


def freshness(use_case: UseCase, stage: Stage) -> dg.FreshnessPolicy | None:
    """How old the newest features and predictions may be, for data that goes on and comes by itself."""
    windows = use_case.windows
    if stage not in ("features", "predictions") or not use_case.automation.on or (windows and windows.end):
        return None
    return dg.FreshnessPolicy.time_window(fail_window=LONGEST[windows.every if windows else "day"] + LATE)


def asset_spec(use_case: UseCase, stage: Stage, description: str, **more: Any) -> dg.AssetSpec:
    """The specification of a stage's asset."""
    return dg.AssetSpec(
        asset_key(use_case, stage),
        description=description,
        group_name=use_case.name,
        owners=use_case.owners,
        tags={STAGE_TAG: stage},
        partitions_def=asset_partitions(use_case, stage),
        freshness_policy=freshness(use_case, stage),
        **more,
    )


def check_specs(
    use_case: UseCase, stage: Stage, checks: Mapping[str, str], *, blocking: bool = True
) -> list[dg.AssetCheckSpec]:
    """The specifications of a stage's checks by name and description, each with a verdict per partition.

    What a blocking check refuses is not published.
    """
    with accepted_previews():
        return [
            dg.AssetCheckSpec(
                name,
                asset=asset_key(use_case, stage),
                description=description,
                blocking=blocking,
                partitions_def=asset_partitions(use_case, stage),
            )
            for name, description in checks.items()
        ]


ROW_COUNTS = ("dagster/partition_row_count", "dagster/row_count")


def row_count(partition: str | None, rows: int) -> dict[str, int]:
    """The number of rows as the metadata that Dagster shows as such."""
    return {ROW_COUNTS[partition is None]: rows}


def rows_told(metadata: Mapping[str, Any]) -> int:
    """The number of rows that metadata tells, 0 where it is of no table."""
    return next((int(metadata[name]) for name in ROW_COUNTS if name in metadata), 0)
