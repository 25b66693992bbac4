"""The I/O manager of models: fitted pipelines in the tracking server, one for each cutoff."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from ml_platform.io_managers.publishing import Key, Metadata, PublishingIOManager, keys_of
from ml_platform.ml.training import TrainedModel
from ml_platform.resources.registry import StoredModel
from ml_platform.resources.tracking import Tracking


class Models(Mapping[Key, TrainedModel]):
    """Published models by cutoff (None without partitions), each loaded when it is asked for."""

    def __init__(self, tracking: Tracking, use_case: str, cutoffs: Sequence[Key]) -> None:
        self._tracking, self._use_case, self._cutoffs = tracking, use_case, cutoffs

    def __getitem__(self, cutoff: Key) -> TrainedModel:
        return self._tracking.load_model(self.stored(cutoff).address)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._cutoffs)

    def __len__(self) -> int:
        return len(self._cutoffs)

    def stored(self, cutoff: Key) -> StoredModel:
        """Where the published model of a cutoff lies."""
        return self._tracking.model_of(self._use_case, cutoff or "")


class ModelIOManager(PublishingIOManager):
    """Publishes the stored models of the cutoffs that passed, and gives them to the stages after."""

    tracking: dg.ResourceDependency[Tracking]

    def data_versions(self, key: dg.AssetKey, partitions: Sequence[Key]) -> Mapping[Key, str]:
        """The data version of the published model of each of these cutoffs."""
        return self.tracking.data_versions(key.path[0], partitions)

    def write(self, spec: dg.AssetSpec, value: Any, data_versions: Mapping[Key, str | None]) -> Metadata:  # noqa: ARG002 - as all I/O managers
        """Publish those stored models of a mapping by cutoff."""
        for cutoff, version in data_versions.items():
            self.tracking.publish_model(value[cutoff], version)
        return {}

    def load_input(self, context: dg.InputContext) -> Models:
        """The published models of the cutoffs that the downstream asset needs."""
        return Models(self.tracking, context.asset_key.path[0], keys_of(context))
