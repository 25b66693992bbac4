"""Automation conditions on the assets: the alternative to schedules and sensors, evaluated by Dagster."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from ml_platform.automation.schedules import data_cron, training_cron
from ml_platform.partitions import LONGEST
from ml_platform.stages.attributes import STAGE_TAG, asset_key
from ml_platform.use_case import Stage, UseCase
from ml_platform.use_case.words import MODEL

LOOKED_AT = 7
"""How many of the newest partitions of data are looked at: one that is older is no longer asked for."""
FOLLOWED: Mapping[str, Stage] = {
    "quarantine": "raw_data",
    "validated_data": "raw_data",
    "features": "validated_data",
    "evaluation": "model",
    "promotion": "evaluation",
    "predictions": "features",
    "monitoring": "predictions",
}
"""By stage the one that it waits for. Not all that it is made of: a model does without days at the edges of what
Dagster takes for its window, and predictions are made by yesterday's champion where today's model was refused."""


def with_conditions(use_case: UseCase, step: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """A step whose assets have conditions."""
    conditions = {stage: _condition(use_case, stage) for stage in ("raw_data", "model", *FOLLOWED)}
    return step.map_asset_specs(
        lambda spec: spec.replace_attributes(automation_condition=conditions.get(spec.tags[STAGE_TAG]))
    )


def conditions_sensor(use_case: UseCase, status: dg.DefaultSensorStatus) -> dg.AutomationConditionSensorDefinition:
    """What evaluates the conditions of a use case."""
    return dg.AutomationConditionSensorDefinition(
        f"{use_case.name}__conditions", target=dg.AssetSelection.groups(use_case.name), default_status=status
    )


def _condition(use_case: UseCase, stage: str) -> "dg.AutomationCondition[dg.AssetKey]":
    condition, windows = dg.AutomationCondition, use_case.windows
    back = LOOKED_AT * LONGEST[windows.every] if windows and stage not in MODEL else None
    newest = condition.in_latest_time_window(back) & ~condition.in_progress()
    if stage not in FOLLOWED:
        cron = data_cron(use_case) if stage == "raw_data" else training_cron(use_case)
        ticked: Any = condition.cron_tick_passed(cron, use_case.automation.time_zone)  # declared as of assets alone
        due: dg.AutomationCondition[dg.AssetKey] = newest & ticked.since_last_handled()
        return due & condition.missing() if windows else due
    followed = dg.AssetSelection.assets(asset_key(use_case, FOLLOWED[stage]))
    # not all_deps_blocking_checks_passed: they have not run on what is asked for in the same moment
    refused = condition.any_checks_match(condition.check_failed(), blocking_only=True)
    new = condition.any_deps_updated()
    if stage == "predictions":  # a step of its own: of what is published, not of what will be
        new = condition.any_deps_match(condition.newly_updated())
    return (
        newest
        & new.since_last_handled()
        & ~condition.any_deps_missing().allow(followed)
        & ~condition.any_deps_in_progress().allow(followed)
        & ~condition.any_deps_match(refused).allow(followed)
    )
