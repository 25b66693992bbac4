"""The fitting of one model, and what is kept of it while the tracking server cannot be reached."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import time
from typing import Any

import polars as pl
from upath import UPath

from ml_platform.io_managers.publishing import Key
from ml_platform.ml.training import TrainedModel, fit
from ml_platform.resources.lake import put
from ml_platform.resources.trusted_types import TRUSTED_TYPES
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.work import Work


class NotLoggedError(ValueError):
    """The tracking server did not take a fitted model."""


@dataclass(frozen=True)
class Fitted:
    """A fitted pipeline before it is in the tracking server; `began` and `ended` are seconds since the epoch."""

    pipeline: Any
    params: dict[str, Any]
    threshold: float | None
    trials: list[dict[str, Any]]
    began: float
    ended: float

    def model(self, work: Work, columns: tuple[str, ...], run_id: str) -> TrainedModel:
        """The model, once its run is known."""
        return TrainedModel(self.pipeline, work.use_case.task, columns, run_id, self.threshold, self.params)


def fitted(work: Work, train: pl.DataFrame, version: str, cutoff: Key) -> Fitted:
    """The model of a cutoff: what an earlier run kept of it, or fitted now.

    `version` is the data version that the model will have: all that it depends on.

    Raises:
        ValueError: there is nothing to learn from, or the parameters do not fit the estimator.
    """
    return _unlogged(work, version) or fit_now(work, train, version, cutoff)


def fitted_once_more(work: Work, rows: pl.DataFrame, version: str, model: TrainedModel) -> Fitted:
    """A model with its parameters and threshold on more rows: what an earlier run kept of it, or fitted now."""
    if known := _unlogged(work, version):
        return known
    began, params = time(), dict(model.params)
    pipeline = fit(work.use_case, rows, work.use_case.estimator, params)
    return Fitted(pipeline, params, model.threshold, [], began, time())


def fit_now(work: Work, train: pl.DataFrame, version: str, cutoff: Key) -> Fitted:
    """The model of a cutoff, searched for, with its threshold, fitted on all its training rows."""
    from ml_platform.ml.thresholds import threshold_of

    use_case, model, began = work.use_case, work.use_case.model, time()
    params, trials = searched(work, train, version, cutoff) if model.search else (use_case.params, [])
    threshold = threshold_of(use_case, train, use_case.estimator, params)
    return Fitted(fit(use_case, train, use_case.estimator, params), params, threshold, trials, began, time())


def searched(work: Work, train: pl.DataFrame, version: str, cutoff: Key) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The best parameters by a search inside the training rows, and its trials; a search that was cut off goes on."""
    from ml_platform.ml.search import metric_of, search

    storage = Path(work.instance.storage_directory()) / "searches" / f"{work.use_case.name}.journal"
    storage.parent.mkdir(parents=True, exist_ok=True)
    trials: list[dict[str, Any]] = []
    metric = metric_of(work.use_case).name
    study = f"{work.use_case.name} {cutoff} {version}"
    found = search(
        work.use_case,
        train,
        storage=storage,
        study=study,
        on_trial=lambda trial: trials.append({**asdict(trial), "metric": metric}),
    )
    return dict(found.params), trials


def kept(work: Work, fitted: Fitted, version: str, log: Callable[[], Any]) -> Any:
    """What `log` returns, which puts a fitted model into the tracking server; where it fails the model is kept.

    Raises:
        NotLoggedError: it did not take it; where it cannot be reached the next run logs it without fitting it again.
    """
    import skops.io

    try:
        logged = log()
    except work.tracking.errors() as error:
        if not work.tracking.is_away(error):
            reason = f"{work.tracking.failure(error)}; choose another estimator, or other params."
            raise NotLoggedError(reason) from error
        file = _file(work, version)
        file.parent.mkdir(parents=True, exist_ok=True)
        put(file, skops.io.dumps(vars(fitted)))
        raise NotLoggedError(
            f"{work.tracking.failure(error)}. The fitted model is kept; run again when the server is back, nothing "
            "will be trained again."
        ) from error
    _file(work, version).unlink(missing_ok=True)
    return logged


def _unlogged(work: Work, version: str) -> Fitted | None:
    """What an earlier run kept of a model."""
    file = _file(work, version)
    if not file.exists():
        return None
    import skops.io

    return Fitted(**skops.io.loads(file.read_bytes(), trusted=list(TRUSTED_TYPES)))


def _file(work: Work, version: str) -> UPath:
    folder = UPath(work.lake.address(asset_key(work.use_case, "model")), **work.lake.storage_options)
    return folder / "unlogged" / f"{version}.skops"
