"""Checks of a user's own on what a stage computes, judged like those of the platform."""

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from ml_platform.fingerprints import Recipe, recipe
from ml_platform.io_managers.publishing import Key
from ml_platform.ml.checks import custom_problem
from ml_platform.ml.contract import PARTITION
from ml_platform.stages.attributes import check_specs
from ml_platform.stages.definition import Computed, Keys, Prepared, StageDefinition, Verdict
from ml_platform.stages.work import Work
from ml_platform.use_case import Check, UseCase


def with_custom_checks(use_case: UseCase, stage: StageDefinition) -> StageDefinition:
    """The stage with the use case's own checks on it."""
    checks = [check for check in use_case.checks if check.stage in stage.assets]
    if not checks:
        return stage
    specs = [
        spec
        for check in checks
        for spec in check_specs(
            use_case,
            check.stage,
            {check.name: f"`{check.function}` finds nothing."},
            blocking=check.severity == "error",
        )
    ]

    def extended() -> Recipe:
        config = {f"checks.{check.name}": check.model_dump() for check in checks}
        own, more = stage.recipe(), recipe([check.function for check in checks], config, [])
        return Recipe({**own.code, **more.code}, {**own.config, **more.config}, {**own.environment, **more.environment})

    def prepare(work: Work, keys: Keys) -> Prepared:
        prepared = stage.prepare(work, keys)

        def compute(due: Keys) -> Iterator[Computed]:
            for computed in prepared.compute(due):
                mine = [check for check in checks if check.stage == computed.stage]
                yield replace(computed, verdicts=[*computed.verdicts, *verdicts(computed, mine, due)])

        return replace(prepared, compute=compute)

    return replace(stage, checks=[*stage.checks, *specs], recipe=extended, prepare=prepare)


def verdicts(computed: Computed, checks: list[Check], keys: Keys) -> Iterator[Verdict]:
    """What a user's checks say of each partition that has rows and that nothing else refuses."""
    refused = {one.partition for one in computed.verdicts if one.reason is not None and one.blocks}
    parts = _parts(computed.value) if checks else {}
    for key in keys:
        if key in refused or key not in parts:
            continue
        for check in checks:
            blocks = check.severity == "error"
            yield Verdict(check.name, key, custom_problem(parts[key], check), blocks=blocks, warning=not blocks)


def _parts(rows: pl.DataFrame) -> dict[Key, pl.DataFrame]:
    if PARTITION not in rows.columns:
        return {} if rows.is_empty() else {None: rows}
    return {f"{day}": part for (day,), part in rows.partition_by(PARTITION, as_dict=True).items()}
