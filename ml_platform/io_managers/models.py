"""The I/O manager of models: fitted pipelines in the tracking server, one for each cutoff."""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from ml_platform.io_managers.publishing import Audited, Metadata, cutoffs_of, publish
from ml_platform.ml.training import TrainedModel
from ml_platform.resources.tracking import StoredModel, Tracking


class Models(Mapping[str | None, TrainedModel]):
    """Published models by cutoff (None without partitions), each loaded when it is asked for."""

    def __init__(self, tracking: Tracking, use_case: str, cutoffs: Sequence[str | None]) -> None:
        self._tracking, self._use_case, self._cutoffs = tracking, use_case, cutoffs

    def __getitem__(self, cutoff: str | None) -> TrainedModel:
        return self._tracking.load_model(self.stored(cutoff).address)

    def __iter__(self) -> Iterator[str | None]:
        return iter(self._cutoffs)

    def __len__(self) -> int:
        return len(self._cutoffs)

    def stored(self, cutoff: str | None) -> StoredModel:
        """Where the published model of a cutoff lies."""
        return self._tracking.model_of(self._use_case, cutoff or "")


class ModelIOManager(dg.ConfigurableIOManager):
    """Publishes the stored models of the cutoffs that passed, and gives them to the stages after."""

    tracking: dg.ResourceDependency[Tracking]

    def handle_output(self, context: dg.OutputContext, obj: Audited[Mapping[str | None, StoredModel]]) -> None:
        """Publish a mapping of cutoffs to stored models.

        Raises:
            dagster.Failure: at least one cutoff was refused.
        """

        def write(cutoffs: Sequence[str] | None) -> Metadata:
            for cutoff in cutoffs if cutoffs is not None else [None]:
                self.tracking.publish_model(obj.value[cutoff])
            return {}

        publish(context, obj, write)

    def load_input(self, context: dg.InputContext) -> Models:
        """The published models of the cutoffs that the downstream asset needs."""
        return Models(self.tracking, context.asset_key.path[0], cutoffs_of(context))
