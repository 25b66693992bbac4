"""The schedules of a use case: data that is due, and the model of the newest cutoff."""

from collections.abc import Iterator

import dagster as dg

from ml_platform.automation.due import due_cutoff, due_days, newest_move, outdated, since_cutoff
from ml_platform.automation.requests import JOB, not_running, run_requests
from ml_platform.use_case import UseCase
from ml_platform.use_case.words import DATA, MODEL, PREDICTIONS

DATA_CRON = {"day": "0 2 * * *", "week": "0 2 * * 1", "month": "0 2 1 * *"}
TRAINING_CRON = {"day": "0 4 * * *", "week": "0 4 * * 1", "month": "0 4 1 * *"}


def data_cron(use_case: UseCase) -> str:
    """When data is brought in: at the end of each partition, if the YAML file says nothing else."""
    return use_case.automation.data or DATA_CRON[use_case.windows.every if use_case.windows else "day"]


def training_cron(use_case: UseCase) -> str:
    """When the newest cutoff is looked at: each day, if the YAML file says nothing else, so that none is missed."""
    return use_case.automation.training or TRAINING_CRON["day" if use_case.windows else use_case.model.every]


def data_schedule(use_case: UseCase, status: dg.DefaultScheduleStatus) -> dg.ScheduleDefinition:
    """What is due of the data, however long it is due, and predictions that did not follow."""

    def tick(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        instance = context.instance
        data = not_running(instance, use_case, "features", due_days(instance, use_case))
        late = not_running(instance, use_case, "predictions", _late(instance, use_case))
        found = [*run_requests(use_case, DATA, data, "data"), *run_requests(use_case, PREDICTIONS, late, "data")]
        yield from found
        if not found:
            yield dg.SkipReason("Nothing is due: what is over is published, refused, or a run is at it.")

    return dg.ScheduleDefinition(
        name=f"{use_case.name}__data",
        job_name=JOB,
        cron_schedule=data_cron(use_case),
        execution_timezone=use_case.automation.time_zone,
        execution_fn=tick,
        default_status=status,
        description="Brings in the data that is due: what is over and has no features yet.",
    )


def _late(instance: dg.DagsterInstance, use_case: UseCase) -> list[str | None]:
    """The partitions that the champion should have predicted."""
    _, champion, cutoff = newest_move(instance, use_case)
    if champion is None:
        return []
    return outdated(instance, use_case, champion, since_cutoff(instance, use_case, cutoff))


def training_schedule(use_case: UseCase, status: dg.DefaultScheduleStatus) -> dg.ScheduleDefinition:
    """The model of the newest cutoff, once it is reached."""

    def tick(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        due = not_running(context.instance, use_case, "model", due_cutoff(context.instance, use_case))
        yield from run_requests(use_case, MODEL, due, "training")
        if not due:
            why = "that of the newest cutoff is decided on, refused on the features as they are, or a run is at it"
            yield dg.SkipReason(f"No model is due: {why}.")

    return dg.ScheduleDefinition(
        name=f"{use_case.name}__training",
        job_name=JOB,
        cron_schedule=training_cron(use_case),
        execution_timezone=use_case.automation.time_zone,
        execution_fn=tick,
        default_status=status,
        description="Trains, evaluates and decides on the model of the newest cutoff that is reached.",
    )
