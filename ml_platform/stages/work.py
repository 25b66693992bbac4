"""What a stage works with: the use case, what is stored already, and the run it is part of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import dagster as dg
import polars as pl

from ml_platform.io_managers.models import ModelIOManager
from ml_platform.io_managers.publishing import Key, PublishingIOManager
from ml_platform.io_managers.reports import ReportIOManager
from ml_platform.io_managers.tables import TableIOManager
from ml_platform.resources.lake import Lake
from ml_platform.resources.registry import Registry, Version
from ml_platform.resources.scoring_process import ScoringProcess
from ml_platform.resources.tracking import RunContext, Tracking
from ml_platform.sources.delivery import Session
from ml_platform.stages.acceptance import Acceptance, acceptances
from ml_platform.stages.attributes import asset_key, stored_by
from ml_platform.stages.definition import Keys
from ml_platform.stages.usage import Meter
from ml_platform.use_case import Stage, UseCase

RESOURCES = {"lake", "tracking", "tables", "models", "reports"}


@dataclass(frozen=True)
class Work:
    """Access to what is stored, for a step of a run or for who asks about one."""

    use_case: UseCase
    lake: Lake
    tracking: Tracking
    tables: TableIOManager
    models: ModelIOManager
    reports: ReportIOManager
    instance: dg.DagsterInstance
    context: dg.AssetExecutionContext | dg.OpExecutionContext | None = None
    run_context: RunContext | None = None
    asked: Registry | None = None
    meter: Meter = field(default_factory=Meter)
    scoring: ScoringProcess = field(default_factory=ScoringProcess)
    _versions: dict[Stage, dict[Key, str | None]] = field(default_factory=dict)
    _accepted: dict[Stage, dict[Key, Acceptance]] = field(default_factory=dict)

    @cached_property
    def session(self) -> Session:
        """What the source is read with; what it holds whole is read once, as long as this lives."""
        return Session(self.instance, self.context if isinstance(self.context, dg.AssetExecutionContext) else None)

    @property
    def step(self) -> dg.AssetExecutionContext:
        """The context of the step, which only a run of assets has."""
        assert isinstance(self.context, dg.AssetExecutionContext)
        return self.context

    @property
    def run(self) -> RunContext:
        """The run that a step is part of, in whichever process it is computed."""
        return self.run_context or RunContext.of(self.step)

    def store(self, stage: Stage) -> PublishingIOManager:
        """The I/O manager of a stage's asset."""
        manager: PublishingIOManager = getattr(self, stored_by(stage))
        return manager

    @property
    def registry(self) -> Registry:
        """The registry of versions: that of the tracking server, asked in this process or in another."""
        return self.asked or self.tracking

    def version(self, number: int) -> Version:
        """A registered version of the use case.

        Raises:
            UserError: there is no such version.
        """
        return self.registry.version(self.use_case.registry.name, number)

    def data_versions(self, stage: Stage, keys: Keys) -> Mapping[Key, str | None]:
        """The published data version of each of these partitions, None where there is none."""
        known = self._versions.setdefault(stage, {})
        if unknown := [key for key in keys if key not in known]:
            found = self.store(stage).data_versions(asset_key(self.use_case, stage), unknown)
            known.update({key: found.get(key) for key in unknown})
        return {key: known[key] for key in keys}

    def published(self, stage: Stage, data_versions: Mapping[Key, str]) -> None:
        """Take note of what was published."""
        self._versions.setdefault(stage, {}).update(data_versions)

    def accepted(self, stage: Stage) -> Mapping[Key, Acceptance]:
        """What people have accepted of a stage."""
        if stage not in self._accepted:
            today = datetime.now(UTC).date()
            self._accepted[stage] = acceptances(self.lake, self.use_case.name, stage, today)
        return self._accepted[stage]

    def read(self, stage: Stage, keys: Keys) -> pl.DataFrame:
        """The same rows, read, and noted as what the stage at work has read."""
        return self.meter.read(self.rows(stage, keys).collect())

    def rows(self, stage: Stage, keys: Keys, version: int | None = None) -> pl.LazyFrame:
        """The published rows of some partitions of a stage's table; none where nothing was ever published.

        `version` is the commit of the table to read, by default the newest.
        """
        key = asset_key(self.use_case, stage)
        return self.tables.rows(key, keys, version) if self.lake.table(key).exists() else pl.LazyFrame()
