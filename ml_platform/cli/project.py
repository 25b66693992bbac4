"""The project in the current folder: its definitions, its use cases and its Dagster instance."""

import fcntl
import os
import sys
import tomllib
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import ValidationError
from upath import UPath

from ml_platform.components import UseCase
from ml_platform.errors import UserError
from ml_platform.references import did_you_mean
from ml_platform.resources.alerting import Alerts
from ml_platform.resources.lake import Lake, put
from ml_platform.stages.work import RESOURCES, Work
from ml_platform.use_case import STAGES, Stage

if TYPE_CHECKING:
    from dagster._core.definitions.job_definition import JobDefinition


INSTANCE = """telemetry: {enabled: false}
run_storage: {module: ml_platform.storages, class: PromptSqliteRunStorage}
schedule_storage: {module: ml_platform.storages, class: PromptSqliteScheduleStorage}
event_log_storage: {module: ml_platform.event_log, class: BatchedSqliteEventLogStorage}
concurrency:
  runs:
    tag_concurrency_limits: [{key: ml_platform/automation, value: {applyLimitPerUniqueValue: true}, limit: 1}]
"""


@dataclass(frozen=True)
class Project:
    """A project's definitions and instance."""

    folder: Path
    definitions: dg.Definitions

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's instance. Its databases are made by one process at a time: two at once would spoil them."""
        with (Path(os.environ["DAGSTER_HOME"]) / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            instance = dg.DagsterInstance.get()
            instance.get_runs(limit=1)
            instance.all_instigator_state()
            instance.event_log_storage.get_maximum_record_id()
        return instance

    @property
    def job(self) -> "JobDefinition":
        """The job of all assets, which every materialization runs."""
        return self.definitions.resolve_implicit_global_asset_job_def()

    def use_cases(self) -> list[str]:
        """The names of the use cases."""
        keys = self.definitions.resolve_asset_graph().get_all_asset_keys()
        return sorted({key.path[0] for key in keys if key.path[-1] == "raw_data"})

    def check_use_case(self, name: str) -> None:
        """Raise UserError if there is no such use case."""
        if name not in (known := self.use_cases()):
            raise UserError(f"there is no use case '{name}'; {did_you_mean(name, known)}")

    def use_case(self, name: str) -> UseCase:
        """A use case by its name."""
        tree = dg.ComponentTree.for_project(self.folder)
        return next(one for one in tree.get_all_components(UseCase) if one.name == name)

    def work(self, name: str) -> Work:
        """Access to what a use case has stored."""
        resources = {key: getattr(self._resources, key) for key in RESOURCES}
        return Work(self.use_case(name), **resources, instance=self.instance)

    @property
    def lake(self) -> Lake:
        """Where tables, reports and incidents live."""
        lake: Lake = self._resources.lake
        return lake

    @property
    def alerts(self) -> Alerts:
        """The channels of alerts; the usual where the project has none of its own."""
        alerts: Alerts = getattr(self._resources, "alerts", None) or Alerts()
        return alerts

    @cached_property
    def _resources(self) -> Any:
        return resources_of(self.definitions, self.instance)

    def partitions(self, key: dg.AssetKey) -> dg.TimeWindowPartitionsDefinition | None:
        """The partitions of an asset."""
        definition = self.definitions.resolve_asset_graph().get(key).partitions_def
        assert definition is None or isinstance(definition, dg.TimeWindowPartitionsDefinition)
        return definition


def resources_of(definitions: dg.Definitions, instance: dg.DagsterInstance | None = None) -> Any:
    """The platform's resources as attributes, with those of their values that the environment has."""
    known = {key: one for key, one in (definitions.resources or {}).items() if key in {*RESOURCES, "alerts"}}
    with dg.build_resources(known, instance) as resources:
        return resources


def home_of(folder: Path) -> Path:
    """Where a project stores everything, unless the environment says so."""
    return Path(os.environ.get("ML_PLATFORM_HOME", folder / ".ml_platform")).absolute()


def environment(folder: Path) -> dict[str, str]:
    """Where and how a project stores everything, unless the environment says so; dagster.yaml is copied there."""
    home = home_of(folder)
    dagster_home = Path(os.environ.get("DAGSTER_HOME") or home / "dagster")
    if not os.environ.get("DAGSTER_HOME"):
        dagster_home.mkdir(parents=True, exist_ok=True)
        own = folder / "dagster.yaml"
        settings, copy = own.read_bytes() if own.exists() else INSTANCE.encode(), dagster_home / "dagster.yaml"
        if not copy.exists() or copy.read_bytes() != settings:  # other processes read it
            put(UPath(copy), settings)
    return {
        "ML_PLATFORM_HOME": str(home),
        "DAGSTER_HOME": str(dagster_home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        # without it Dagster hands no batch to its event log
        "DAGSTER_EVENT_BATCH_SIZE": os.environ.get("DAGSTER_EVENT_BATCH_SIZE", "1000"),
    }


def project_folder() -> Path:
    """The nearest folder upwards whose pyproject.toml describes a Dagster project.

    Raises:
        UserError: there is none.
    """
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "pyproject.toml").exists() and "project" in _settings(folder):
            return folder
    raise UserError("no Dagster project here: no pyproject.toml has [tool.dg.project]; go to the project's folder.")


def open_project() -> Project:
    """Load the project in the current folder.

    Raises:
        UserError: there is none, or its definitions do not load.
    """
    folder = project_folder()
    os.environ.update(environment(folder))
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    return Project(folder, definitions_of(folder))


def definitions_of(folder: Path) -> dg.Definitions:
    """The definitions of the project in a folder, which must be on the path of imports.

    Raises:
        UserError: they do not load.
    """
    try:
        module = import_module(f"{_settings(folder)['project']['root_module']}.definitions")
        definitions: dg.Definitions = module.defs()
    except Exception as error:
        raise UserError(_sentence(error)) from error
    return definitions


def _settings(folder: Path) -> dict[str, dict[str, str]]:
    settings: dict[str, dict[str, str]] = (
        tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("tool", {}).get("dg", {})
    )
    return settings


def _sentence(error: BaseException) -> str:
    """What to tell of an error while loading: the place of a wrong YAML field and what is wrong, or the root cause."""
    root: BaseException = error
    while not isinstance(root, ValidationError) and (root.__cause__ or root.__context__):
        root = root.__cause__ or root.__context__ or root
    if isinstance(root, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}" for one in root.errors()
        )
    return str(root)


def check_stage(name: str) -> Stage:
    """A stage by its name.

    Raises:
        UserError: there is no such stage.
    """
    if name not in STAGES:
        raise UserError(f"there is no stage '{name}'; {did_you_mean(name, list(STAGES))}")
    return name
