"""The reproduction of a registered version: trained again from what was recorded, and its predictions compared."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from ml_platform.errors import UserError
from ml_platform.fingerprints import Recipe, recipe
from ml_platform.ml.evaluation import prediction_hash
from ml_platform.ml.training import TrainedModel, feature_columns, fit, rows_hash
from ml_platform.resources.registry import EVALUATED_TAG, Version
from ml_platform.stages.model import (
    FEATURES_TAG,
    HOLD_OUT_ROWS_TAG,
    HOLD_OUT_TAG,
    PREDICTIONS_TAG,
    RECIPE_TAG,
    TRAINING_ROWS_TAG,
    recipe_of,
    training_config,
)
from ml_platform.stages.recipes import load
from ml_platform.stages.reference import use_case_of
from ml_platform.stages.surroundings import COMMIT_TAG, environment, surroundings
from ml_platform.stages.training_rows import Part, labelled_rows
from ml_platform.stages.work import Work
from ml_platform.use_case import UseCase
from ml_platform.versions.trace import run_of


@dataclass(frozen=True)
class Reproduction:
    """Whether a version trained again predicts the same, by the hash of its predictions on the hold-out, and is stored.

    `differences` are sentences on what is not as it was: the stored model, data, code, environment, configuration.
    """

    equal: bool
    recorded: str
    found: str
    rows: int
    differences: list[str]


def reproduce(work: Work, version: Version) -> Reproduction:
    """Train a version again from the recorded commit of the features, parameters and seed, with the code of now.

    Raises:
        UserError: what it was made of is gone, was never recorded, or is refused now.
    """
    from deltalake.exceptions import DeltaError

    run = run_of(work, version)
    before = load(work.lake, run.tags[RECIPE_TAG])
    use_case, written = use_case_of(work, version.run_id)
    # the file lies in the tracking server, where others write too: it must not name what is imported here
    if changed := _not_as_trained(before, use_case, written):
        raise UserError(
            f"use_case.json of run {version.run_id} says otherwise than was trained in {', '.join(changed)}; "
            "it was changed: restore it."
        )
    then, cutoff = replace(work, use_case=use_case), version.cutoff or None
    part: Part = "known" if EVALUATED_TAG in version.tags else "train"
    try:
        train = labelled_rows(then, cutoff, part, int(run.tags[FEATURES_TAG]))
        hold_out = labelled_rows(then, cutoff, "hold_out", int(run.tags[HOLD_OUT_TAG]))
    except (OSError, DeltaError, pl.exceptions.PolarsError) as error:
        commit = run.tags[FEATURES_TAG]
        raise UserError(f"the features of then, commit {commit}, cannot be read: {error}") from error
    stored = work.tracking.load_model(version.address)
    try:
        pipeline = fit(use_case, train, use_case.estimator, stored.params)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{version.name} {version.number} cannot be trained again: {error}") from error
    again = TrainedModel(pipeline, use_case.task, feature_columns(use_case, train.columns), version.run_id)
    recorded, found = run.tags[PREDICTIONS_TAG], prediction_hash(again.predict(hold_out))
    served = _served_hash(version, stored, hold_out)
    now, here = recipe_of(use_case), recipe_of(work.use_case)
    rows = {TRAINING_ROWS_TAG: train, HOLD_OUT_ROWS_TAG: hold_out}
    data = {tag: rows_hash(use_case, part, again.columns) for tag, part in rows.items() if tag in run.tags}
    other_files = [*_other_threshold(work, version, stored)]
    # on other rows any model predicts otherwise
    if served != recorded and data.get(HOLD_OUT_ROWS_TAG) == run.tags.get(HOLD_OUT_ROWS_TAG):
        other_files.append(f"the stored model predicts otherwise than recorded, with the hash {served[:16]}")
    differences = [
        *other_files,
        *_changed("data", {tag: run.tags[tag] for tag in data}, data),
        *_differences(before, now, run.tags),
        *_changed("configuration", before.config, here.config),
    ]
    if recorded != found and not differences:
        differences = [
            "nothing that is recorded differs: the estimator is not deterministic, or the machine is another"
        ]
    equal = recorded == found == served and not other_files
    return Reproduction(equal, recorded, found, hold_out.height, differences)


def _not_as_trained(before: Recipe, use_case: UseCase, written: Mapping[str, Any]) -> list[str]:
    """The keys in which the file of a use case is not what was trained, without importing what it names."""
    now, in_file = (recipe([], config, []).config for config in (training_config(use_case), written))
    return [
        key
        for key in sorted({*before.config, *now})
        # a key that the schema has got since is in neither, and has its default
        if before.config.get(key) != now.get(key) and (key in before.config or key in in_file)
    ]


def _served_hash(version: Version, stored: TrainedModel, hold_out: pl.DataFrame) -> str:
    try:
        return prediction_hash(stored.predict(hold_out))
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise UserError(f"the stored {version.name} {version.number} cannot score its hold-out: {error}") from error


def _other_threshold(work: Work, version: Version, stored: TrainedModel) -> Iterator[str]:
    recorded = work.tracking.run_of(version.judged_run_id).params.get("threshold")
    if recorded is not None:
        yield from _changed("stored model", {"threshold": recorded}, {"threshold": str(stored.threshold)})


def _differences(before: Recipe, now: Recipe, tags: Mapping[str, str]) -> Iterator[str]:
    """What differs in code and environment; the commit of then is where to find its code."""
    yield from _changed("code", before.code, now.code)
    if before.code != now.code and COMMIT_TAG in tags:
        yield f"the code of then is that of the commit {tags[COMMIT_TAG]}; check it out to train with it"
    here = {name: value for name, value in surroundings().items() if name in tags}
    yield from _changed("environment", environment(before.environment, tags), environment(now.environment, here))


def _changed(kind: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            was, is_now = before.get(name, "not there"), now.get(name, "not there")
            yield f"{kind} {name} was {was} and is {is_now}"
