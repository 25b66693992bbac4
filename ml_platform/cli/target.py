"""What a command is asked about: NAME/STAGE and a partition."""

import dagster as dg

from ml_platform.cli.project import Project, check_stage
from ml_platform.errors import UserError
from ml_platform.references import did_you_mean
from ml_platform.resources.registry import Version
from ml_platform.stages.work import Work
from ml_platform.use_case import Stage


def target(project: Project, asset: str, partition: str | None) -> tuple[str, Stage, str | None]:
    """Use case, stage and partition; without one the newest that is published, or else the last there is.

    Raises:
        UserError: there is no such use case, stage or partition.
    """
    name, _, word = asset.partition("/")
    project.check_use_case(name)
    stage = check_stage(word)
    key = dg.AssetKey([name, stage])
    definition = project.partitions(key)
    if definition is None:
        if partition is not None:
            raise UserError("this use case has no partitions; leave the partition out.")
        return name, stage, None
    keys = definition.get_partition_keys()
    if partition is None:
        published = project.instance.get_materialized_partitions(key)
        return name, stage, max(published, default=keys[-1])
    if partition not in keys:
        raise UserError(f"{partition} is no partition of {asset}; {did_you_mean(partition, list(keys))}")
    return name, stage, partition


def version_target(project: Project, text: str) -> tuple[Work, Version]:
    """The use case and the registered version that NAME@VERSION names.

    Raises:
        UserError: there is no such use case or version.
    """
    name, _, number = text.partition("@")
    work = use_case_target(project, name)
    if not number.isdecimal():
        raise UserError(
            f"say which version of {name}, such as {name}@3; ml-platform history {name} shows the champions."
        )
    return work, work.version(int(number))


def use_case_target(project: Project, name: str) -> Work:
    """Access to what a use case has stored.

    Raises:
        UserError: there is no such use case.
    """
    project.check_use_case(name)
    return project.work(name)
