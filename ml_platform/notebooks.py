"""What is published, for Python and notebooks: read only, nothing is made or written."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from datetime import datetime

import dagster as dg
import polars as pl

from ml_platform.cli.project import Project, definitions_of, home_of, project_folder, resources_of
from ml_platform.errors import UserError
from ml_platform.ml.training import TrainedModel
from ml_platform.partitions import day_of
from ml_platform.references import did_you_mean
from ml_platform.resources.lake import Table
from ml_platform.stages.attributes import stored_by
from ml_platform.use_case import STAGES

HOME = "ML_PLATFORM_HOME"
TABLES = [*(stage for stage in STAGES if stored_by(stage) == "tables"), "ledger"]


def load(
    asset: str, partitions: str | Sequence[str] | None = None, version: int | datetime | None = None
) -> pl.DataFrame:
    """The rows of a table of the project in the current folder or above it.

    `asset` is `NAME/STAGE`, such as `card_fraud/features`, or `NAME/ledger`. `partitions` is one key, a list of keys,
    or a tuple (first, last), which stands for those between that are published; by default all. `version` is a commit
    of the Delta table, as the metadata `table_version` of a materialization and the column `features_version` of
    predictions have it, or a moment (UTC if naive); by default the newest.

    Raises:
        UserError: there is no such use case, table, partition or version.
    """
    with _project() as project:
        name, _, stage = asset.partition("/")
        project.check_use_case(name)
        if stage in STAGES and stage not in TABLES:
            there = f"ml_platform.load_model('{name}')" if stage == "model" else f"ml-platform status {name}"
            raise UserError(f"{asset} is no table; see {there}.")
        if stage not in TABLES:
            raise UserError(f"there is no table '{stage}'; {did_you_mean(stage, TABLES)}")
        key = dg.AssetKey([name, stage])
        table: Table = resources_of(project.definitions).lake.table(key)
        if not table.exists():
            raise UserError(f"nothing of {asset} was published so far; ml-platform run {name} does it.")
        try:
            commit = None if version is None else table.commit(version)
        except LookupError as error:
            raise UserError(f"{asset}: {error}") from error
        if partitions is None:
            return table.scan(version=commit).collect()
        days = [day_of(one) for one in _published(project, key, table, partitions, commit)]
        return table.scan(days, version=commit).collect()


def load_model(name: str, version: int | None = None) -> TrainedModel:
    """A registered version of a use case, by default the champion; its file is read without running code of it.

    `predict(rows)` takes rows of features and gives scores; `pipeline` is the fitted scikit-learn pipeline.

    Raises:
        UserError: there is no such use case or version.
    """
    with _project() as project:
        project.check_use_case(name)
        resources = resources_of(project.definitions)
        # whoever asks MLflow makes its database
        if not resources.lake.table(dg.AssetKey([name, "promotion"])).exists():
            raise UserError(f"{name} has no version so far; ml-platform run {name} trains the first.")
        registered = project.use_case(name).registry.name
        tracking = resources.tracking
        found = tracking.champion(registered) if version is None else tracking.version(registered, version)
        if found is None:
            raise UserError(f"{name} has no champion; say which version: load_model('{name}', 1).")
        model: TrainedModel = tracking.load_model(found.address)
        return model


def _published(
    project: Project, key: dg.AssetKey, table: Table, wanted: str | Sequence[str], commit: int | None
) -> list[str]:
    """The partitions that are meant: all of those named, or those of a range that are published."""
    asset, definition = key.to_user_string(), project.partitions(key)
    if definition is None:
        raise UserError(f"{asset} has no partitions; leave partitions out.")
    known = list(definition.get_partition_keys())
    named = [wanted] if isinstance(wanted, str) else list(wanted)
    if unknown := [one for one in named if one not in known]:
        raise UserError(f"{unknown[0]} is no partition of {asset}; they go from {known[0]} to {known[-1]}.")
    is_range = isinstance(wanted, tuple)
    if is_range:
        if len(named) != 2 or named[0] > named[1]:  # noqa: PLR2004 - the first and the last
            raise UserError("a range is (first, last); write the partitions themselves as a list.")
        named = [one for one in known if named[0] <= one <= named[1]]
    there = table.data_versions([day_of(one) for one in named], commit)
    missing = [one for one in named if day_of(one) not in there]
    if missing and (not is_range or len(missing) == len(named)):
        raise UserError(f"{asset} has nothing of {missing[0]}; ml-platform why {asset} {missing[0]} says why.")
    return [one for one in named if one not in missing]


@contextmanager
def _project() -> Iterator[Project]:
    """The project in the current folder or above, without its instance; the process is left as it was."""
    folder, before = project_folder(), os.environ.get(HOME)
    os.environ[HOME] = str(home_of(folder))
    sys.path.insert(0, str(folder))
    try:
        with chdir(folder):  # where relative paths of its resources begin
            yield Project(folder, definitions_of(folder))
    finally:
        sys.path.remove(str(folder))
        if before is None:
            del os.environ[HOME]
        else:
            os.environ[HOME] = before
