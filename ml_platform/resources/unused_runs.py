"""Runs in MLflow that nothing refers to any more, and their removal for good."""

import os
import warnings
from collections.abc import Collection
from datetime import datetime
from typing import Any

from ml_platform.resources.registry import CUTOFF_TAG
from ml_platform.resources.tracking import MODEL_TAG, PARENT_TAG, Tracking

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
PAGE = 1000


def remove_unused_runs(tracking: Tracking, use_case: str, registered: Collection[str], before: datetime) -> int:
    """Remove the runs of a use case that ended before a moment, with their models and files; their number.

    Kept are runs of registered versions, the newest published model of each cutoff, and the trials of both.

    Raises:
        ValueError: MLflow is a server of its own, which alone can remove what it stores.
    """
    if not tracking.uri.startswith(DATABASES):
        raise ValueError(
            f"{tracking.address} is a server, and no database: run `mlflow gc` on its machine to remove unused runs."
        )
    client = tracking._mlflow().MlflowClient()
    experiment = client.get_experiment_by_name(use_case)
    if experiment is None:
        return 0
    runs = _runs(client, experiment.experiment_id)
    needed = {*registered, *_newest_models(runs)}
    unused = [
        run.info.run_id
        for run in runs
        if not needed & {run.info.run_id, run.data.tags.get(PARENT_TAG)}
        and run.info.end_time is not None
        and run.info.end_time < before.timestamp() * 1000
    ]
    models = client.search_logged_models([experiment.experiment_id], max_results=None) if unused else []
    for run_id in unused:
        client.delete_run(run_id)
    stored = [model.model_id for model in models if model.source_run_id in unused]
    for model_id in stored:
        client.delete_logged_model(model_id)
    if unused:
        _collect(tracking.uri, unused, stored)
    return len(unused)


def _runs(client: Any, experiment: str) -> list[Any]:
    """All runs of an experiment, the newest first."""
    found = client.search_runs([experiment], max_results=PAGE)
    runs = list(found)
    while found.token:
        found = client.search_runs([experiment], max_results=PAGE, page_token=found.token)
        runs += found
    return runs


def _newest_models(runs: list[Any]) -> Collection[str]:
    """The run of the newest published model of each cutoff: what readers of the stage `model` find."""
    newest: dict[str, str] = {}
    for run in runs:
        if MODEL_TAG in run.data.tags:
            newest.setdefault(run.data.tags.get(CUTOFF_TAG, ""), run.info.run_id)
    return newest.values()


def _collect(uri: str, runs: list[str], models: list[str]) -> None:
    """Remove for good what was deleted: MLflow does that by its command only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mlflow's warnings here are about types of its own
        from mlflow.cli import gc

    # not as arguments: the address may hold a password
    os.environ["MLFLOW_BACKEND_STORE_URI"] = os.environ["MLFLOW_TRACKING_URI"] = uri
    chosen = ["--run-ids", ",".join(runs), *(["--logged-model-ids", ",".join(models)] if models else [])]
    gc.main(chosen, standalone_mode=False)
