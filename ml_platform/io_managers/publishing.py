"""Audit before publish: what failed its gate is never written where anyone reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import dagster as dg

T = TypeVar("T")
Metadata = Mapping[str, Any]


@dataclass(frozen=True)
class Audited(Generic[T]):
    """A stage's value with the verdicts on it: the reason for each refused partition, metadata for the others.

    Without partitions both mappings have the one key None.
    """

    value: T
    refused: Mapping[str | None, str] = field(default_factory=dict)
    metadata: Mapping[str | None, Metadata] = field(default_factory=dict)


def partitions_of(context: dg.OutputContext | dg.InputContext) -> list[str] | None:
    """The partition keys that are read or written, or None without partitions."""
    return list(context.asset_partition_keys) if context.has_asset_partitions else None


def cutoffs_of(context: dg.OutputContext | dg.InputContext) -> Sequence[str | None]:
    """The partition keys that are read or written, the one None without partitions."""
    partitions = partitions_of(context)
    return [None] if partitions is None else partitions


def publish(
    context: dg.OutputContext, audited: Audited[Any], write: Callable[[Sequence[str] | None], Metadata]
) -> None:
    """Write what passed in one go, and fail the step for what was refused, naming each partition's reason.

    A refused partition keeps the value it had. Dagster would mark all partitions of the step materialized or none, so
    where some are refused the others are recorded here.

    Raises:
        dagster.Failure: at least one partition was refused.
    """
    partitions = partitions_of(context)
    passed = None if partitions is None else [key for key in partitions if key not in audited.refused]
    if not audited.refused:
        context.add_output_metadata(dict(write(passed)))
        return
    if passed:
        written = write(passed)
        for key in passed:
            metadata = {**written, **audited.metadata.get(key, {})}
            context.log_event(dg.AssetMaterialization(context.asset_key, partition=key, metadata=metadata))
    name = context.asset_key.to_user_string()
    reasons = "; ".join(f"{key}: {why}" if key else why for key, why in audited.refused.items())
    counted = f"{len(audited.refused)} of {len(partitions)} partitions" if partitions else "the data"
    raise dg.Failure(
        f"{name} refused {counted}: {reasons}",
        metadata={"refused": {str(key): why for key, why in audited.refused.items()}},
        allow_retries=False,
    )
