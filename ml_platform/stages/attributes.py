"""What all stages of a use case share: keys, owners, groups, kinds, partitions and check specifications."""

from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from ml_platform.partitions import accepted_previews, cutoff_partitions, data_partitions
from ml_platform.use_case import Stage, UseCase

STAGE_TAG = "ml_platform/stage"
PER_CUTOFF: tuple[Stage, ...] = ("model", "evaluation", "promotion")


def asset_key(use_case: UseCase, stage: Stage) -> dg.AssetKey:
    """The key of a stage's asset: `card_fraud/features`."""
    return dg.AssetKey([use_case.name, stage])


def asset_partitions(use_case: UseCase, stage: Stage) -> dg.TimeWindowPartitionsDefinition | None:
    """The partitions of a stage's asset: cutoffs for what belongs to a model, event time for tables."""
    return cutoff_partitions(use_case) if stage in PER_CUTOFF else data_partitions(use_case)


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


def check_specs(use_case: UseCase, stage: Stage, *, blocking: bool = True, **checks: str) -> list[dg.AssetCheckSpec]:
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


def stage_step(
    *specs: dg.AssetSpec, io_manager: str, checks: Sequence[dg.AssetCheckSpec], **inputs: Any
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """The decorator of a stage's step: it computes the assets of `specs`, a range of partitions in one run.

    The step is named after the last of them; `inputs` are `ins` and `deps` of `dagster.multi_asset`.
    """
    partitions = specs[-1].partitions_def
    return dg.multi_asset(
        name="__".join(specs[-1].key.path),
        outs={spec.key.path[-1]: dg.AssetOut.from_spec(spec, io_manager_key=io_manager) for spec in specs},
        check_specs=checks,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run() if partitions else None,
        **inputs,
    )


def row_count(partition: str | None, rows: int) -> dict[str, int]:
    """The number of rows as the metadata that Dagster shows as such."""
    return {"dagster/row_count" if partition is None else "dagster/partition_row_count": rows}
