"""What a code location holds, as far as alerts ask: its use cases, assets, sensors and schedules."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from ml_platform.use_case import Alerting


@dataclass(frozen=True)
class Project:
    """The use cases of a code location by name, with what they say about alerts; its assets, sensors and schedules."""

    use_cases: Mapping[str, Alerting]
    assets: AssetGraph
    instigators: frozenset[str]

    def about(self, use_case: str) -> Alerting:
        """What a use case says about alerts; of what belongs to none, the usual."""
        return self.use_cases.get(use_case, Alerting())

    def owner(self, name: str) -> str:
        """The use case that a step, job, sensor or schedule belongs to by its name, or `""`."""
        return next((one for one in self.use_cases if name.startswith(f"{one}__")), "")

    def known(self, name: str) -> str:
        """A use case by its name, or `""` if it is none of them."""
        return name if name in self.use_cases else ""

    def partitions(self, key: dg.AssetKey) -> dg.PartitionsDefinition[Any] | None:
        """The partitions of an asset, None if it has none or is there no more."""
        return self.assets.get(key).partitions_def if self.assets.has(key) else None

    def step(self, key: dg.AssetKey) -> str | None:
        """The step that materializes an asset, None if there is no such asset any more."""
        return self.assets.get(key).assets_def.node_def.name if self.assets.has(key) else None
