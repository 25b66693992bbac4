"""Verdicts of a stage's checks on its partitions, and how a step ends with them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from ml_platform.io_managers.publishing import Audited, Metadata


@dataclass(frozen=True)
class Verdict:
    """What one check says of one partition (None without partitions); the reason says why it failed, and what to do."""

    check: str
    partition: str | None
    reason: str | None = None
    metadata: Metadata = field(default_factory=dict)
    blocks: bool = True

    @property
    def passed(self) -> bool:
        """Whether there is no reason against the partition."""
        return self.reason is None


def partition_keys(context: dg.AssetExecutionContext) -> list[str | None]:
    """The partitions of this step, or the one None of an asset without partitions."""
    return list(context.partition_keys) if context.has_partition_key_range or context.has_partition_key else [None]


def conclude(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    value: Any,
    verdicts: Sequence[Verdict],
    metadata: Mapping[str | None, Metadata],
) -> Iterator[dg.Output[Any]]:
    """Record each verdict on its partition and hand the value to its I/O manager, which publishes what passed."""
    specs = context.assets_def.node_check_specs_by_output_name
    for verdict in verdicts:
        context.log_event(
            dg.AssetCheckEvaluation(
                asset_key=key,
                check_name=verdict.check,
                passed=verdict.passed,
                description=verdict.reason,
                partition=verdict.partition,
                metadata=dict(verdict.metadata),
                blocking=verdict.blocks,
            )
        )
    for output, spec in specs.items():
        if spec.asset_key == key:
            yield dg.Output(None, output_name=output)
    refused: dict[str | None, str] = {}
    for verdict in verdicts:
        if verdict.reason is not None and verdict.blocks:
            refused.setdefault(verdict.partition, verdict.reason)
    for partition, values in metadata.items():
        if partition not in refused:
            context.add_asset_metadata(dict(values), asset_key=key, partition_key=partition)
    yield dg.Output(
        Audited(value, refused, metadata), output_name=context.assets_def.get_output_name_for_asset_key(key)
    )
