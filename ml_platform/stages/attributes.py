"""What all stages of a use case share: keys, owners, groups, kinds, partitions and check specifications."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from ml_platform.partitions import accepted_previews, cutoff_partitions, data_partitions
from ml_platform.use_case import Stage, UseCase

STAGE_TAG = "ml_platform/stage"
PER_CUTOFF: tuple[Stage, ...] = ("model", "evaluation", "promotion")
STORED_BY: dict[Stage, str] = {"model": "models", "evaluation": "reports"}


def asset_key(use_case: UseCase, stage: Stage) -> dg.AssetKey:
    """The key of a stage's asset: `card_fraud/features`."""
    return dg.AssetKey([use_case.name, stage])


def asset_partitions(use_case: UseCase, stage: Stage) -> dg.TimeWindowPartitionsDefinition | None:
    """The partitions of a stage's asset: cutoffs for what belongs to a model, event time for tables."""
    return cutoff_partitions(use_case) if stage in PER_CUTOFF else data_partitions(use_case)


def stored_by(stage: Stage) -> str:
    """The key of the I/O manager of a stage's asset."""
    return STORED_BY.get(stage, "tables")


def asset_spec(use_case: UseCase, stage: Stage, description: str, **more: Any) -> dg.AssetSpec:
    """The specification of a stage's asset."""
    return dg.AssetSpec(
        asset_key(use_case, stage),
        description=description,
        group_name=use_case.name,
        owners=use_case.owners,
        tags={STAGE_TAG: stage},
        partitions_def=asset_partitions(use_case, stage),
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
