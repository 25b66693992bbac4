"""The sensors on what was published, and on MLflow: predictions follow features and champion, training drift."""

import json

import dagster as dg

from ml_platform.automation.due import due_cutoff, newest_metadata, newest_move, outdated, published, since_cutoff
from ml_platform.automation.requests import JOB, not_running, run_requests, waits_for
from ml_platform.stages import ledger
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.monitoring import RETRAINING
from ml_platform.stages.work import RESOURCES, Work
from ml_platform.use_case import UseCase
from ml_platform.use_case.words import MODEL, PREDICTIONS


def predictions_sensor(use_case: UseCase, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The champion's predictions for features that were published, and for those since its cutoff if it is new."""

    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        instance = context.instance
        move, champion, cutoff = newest_move(instance, use_case)
        features = published(instance, use_case, "features")
        if champion is None or not features:
            return dg.SkipReason(f"{use_case.name} has {'no features' if champion else 'no champion'} yet.")
        seen = json.loads(context.cursor or "{}")
        now = {"move": move, "features": max(features.values())}
        if seen == now:
            return dg.SkipReason("Neither features nor champion have changed.")
        if waiting := waits_for(instance, use_case):
            return waiting
        new = {key for key, event in features.items() if event > seen.get("features", now["features"])}
        if seen.get("move") != move:
            new |= set(since_cutoff(instance, use_case, cutoff))
        due = outdated(instance, use_case, champion, new)
        return dg.SensorResult(
            run_requests=run_requests(use_case, PREDICTIONS, due),
            skip_reason=None if due else "All predictions are those of the champion on the features as they are.",
            cursor=json.dumps(now),
        )

    return dg.SensorDefinition(
        name=f"{use_case.name}__predictions",
        job_name=JOB,
        evaluation_fn=look,
        default_status=status,
        description="Predicts what has new features, and what a new champion would predict differently.",
    )


def mlflow_sensor(use_case: UseCase) -> dg.SensorDefinition:
    """What is left undone: moves that were cut off, those by hand that the ledger lacks, runs of dead processes."""

    def look(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        work = Work(use_case, **{key: getattr(context.resources, key) for key in RESOURCES}, instance=context.instance)
        ended = work.tracking.end_unfinished(use_case.name, context.instance)
        found = ledger.settled(work)
        told = [found.moved or "The champion is the one of the ledger."]
        if ended:
            told.append(f"Ended as KILLED, their processes are no more: {', '.join(ended)}.")
        return dg.SkipReason(" ".join(told))

    return dg.SensorDefinition(
        name=f"{use_case.name}__mlflow",
        job_name=JOB,
        evaluation_fn=look,
        required_resource_keys=RESOURCES,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Lets MLflow and the ledger agree on the champion, and ends what killed processes left RUNNING.",
    )


def retraining_sensor(use_case: UseCase, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The model of the cutoff that monitoring has decided on, once for each time that it wants one."""

    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        event, shown = newest_metadata(context.instance, asset_key(use_case, "monitoring"))
        asked = shown.get(RETRAINING, {})
        if not asked.get("cutoff") or context.cursor == str(event):
            return dg.SkipReason("Monitoring asks for no model, or for the one that was asked for already.")
        due = not_running(context.instance, use_case, "model", due_cutoff(context.instance, use_case, asked["cutoff"]))
        if not due:
            why = f"{asked['cutoff']} is decided on, refused on the features as they are, or a run is at it."
            return dg.SkipReason(f"{asked['why']} That of {why}")
        return dg.SensorResult(run_requests=run_requests(use_case, MODEL, due, str(event)), cursor=str(event))

    return dg.SensorDefinition(
        name=f"{use_case.name}__retraining",
        job_name=JOB,
        evaluation_fn=look,
        minimum_interval_seconds=60,
        default_status=status,
        description="Trains a model when monitoring asks for one.",
    )
