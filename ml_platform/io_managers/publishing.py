"""What all I/O managers share: a value is stored whole with its data versions, or not at all."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import dagster as dg

Metadata = Mapping[str, Any]
Key = str | None
"""The key of a partition; None stands for all of an asset without partitions."""


class Step(Enum):
    """What a stage's step hands over as the value of an asset that it has published and recorded by itself."""

    PUBLISHED = "published"


class PublishingIOManager(dg.ConfigurableIOManager):
    """Stores values by partition, each with its data version, for a stage's step and for assets of a user's own."""

    @abstractmethod
    def data_versions(self, key: dg.AssetKey, partitions: Sequence[Key]) -> Mapping[Key, str]:
        """The data version of each of these partitions that is published."""

    @abstractmethod
    def write(self, spec: dg.AssetSpec, value: Any, data_versions: Mapping[Key, str | None]) -> Metadata:
        """Publish the partitions named in `data_versions`, and no other, in one go; what the UI shows of it."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store what an asset returned; nothing where its step has done so partition by partition."""
        if obj is Step.PUBLISHED:
            # Dagster would record all partitions a second time, and can only be kept from it by not knowing the asset;
            # drop when a step may say that it has recorded them
            context._asset_key = None
            return
        spec = dg.AssetSpec(context.asset_key, metadata=dict(context.definition_metadata))
        context.add_output_metadata(dict(self.write(spec, obj, dict.fromkeys(keys_of(context)))))


def keys_of(context: dg.OutputContext | dg.InputContext) -> Sequence[Key]:
    """The partition keys that are read or written, the one None without partitions."""
    return list(context.asset_partition_keys) if context.has_asset_partitions else [None]
