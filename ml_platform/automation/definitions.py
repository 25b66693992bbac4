"""The schedules and sensors of a use case; those that ask for runs are on or off as its YAML file says."""

import dagster as dg

from ml_platform.automation.conditions import conditions_sensor
from ml_platform.automation.due import watches_files
from ml_platform.automation.files import files_sensor
from ml_platform.automation.schedules import data_schedule, training_schedule
from ml_platform.automation.sensors import mlflow_sensor, predictions_sensor, retraining_sensor
from ml_platform.use_case import UseCase


def schedules(use_case: UseCase) -> list[dg.ScheduleDefinition]:
    """The schedules of a use case."""
    if use_case.automation.mode == "declarative":
        return []
    status = dg.DefaultScheduleStatus.RUNNING if use_case.automation.on else dg.DefaultScheduleStatus.STOPPED
    return [data_schedule(use_case, status), training_schedule(use_case, status)]


def sensors(use_case: UseCase) -> list[dg.SensorDefinition]:
    """The sensors of a use case; that on MLflow, which asks for no runs, is always on."""
    status = dg.DefaultSensorStatus.RUNNING if use_case.automation.on else dg.DefaultSensorStatus.STOPPED
    found: list[dg.SensorDefinition] = [mlflow_sensor(use_case), retraining_sensor(use_case, status)]
    if use_case.automation.mode == "declarative":
        return [*found, conditions_sensor(use_case, status)]
    if watches_files(use_case):
        found.append(files_sensor(use_case, status))
    return [*found, predictions_sensor(use_case, status)]
