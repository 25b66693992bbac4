"""The champion as the opponent of a new model: its scores on the new model's hold-out, and what it has seen of it."""

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from ml_platform.ml.report import Report
from ml_platform.ml.splits import Window, held_out_by_key
from ml_platform.resources.registry import StoredModel, Version, unreadable
from ml_platform.stages.model import HOLD_OUT_TAG, features_version
from ml_platform.stages.training_rows import Part, Split, held_out_by, labelled_rows, with_columns
from ml_platform.stages.work import Work

if TYPE_CHECKING:
    from ml_platform.ml.gates import Opponent

FROM_TAG, UNTIL_TAG, SHARE_TAG, BY_TAG = "trained_from", "trained_until", "hold_out_share", "held_out_by"


def trained_tags(where: Split, part: Part) -> dict[str, str]:
    """What a registered version says of the rows that it was trained on."""
    if where.windows:
        window = where.windows[part]
        return {FROM_TAG: window.start.isoformat(), UNTIL_TAG: window.end.isoformat()}
    return {SHARE_TAG: str(where.use_case.model.hold_out_share), BY_TAG: json.dumps(held_out_by(where.use_case))}


def is_known(version: Version) -> bool:
    """Whether a version says what it was trained on; one that was put into MLflow by hand does not."""
    return FROM_TAG in version.tags or SHARE_TAG in version.tags


def unseen(work: Work, tags: Mapping[str, str], cutoff: str | None, rows: pl.DataFrame) -> pl.Series:
    """A mask of the rows that a version with these tags was not trained on.

    Raises:
        UnreadableTagError: the tag that says by what rows were held out was changed.
    """
    use_case = work.use_case
    if FROM_TAG in tags:
        window = Window(datetime.fromisoformat(tags[FROM_TAG]), datetime.fromisoformat(tags[UNTIL_TAG]))
        return rows.select(~window.select(str(use_case.contract.event_time))).to_series()
    try:
        by = list(json.loads(tags[BY_TAG]))
    except (TypeError, ValueError):
        name = use_case.registry.name
        same = [one for one in work.registry.versions(name) if one.tags.get(BY_TAG) == tags[BY_TAG]]
        raise unreadable(name, same, BY_TAG) from None
    return held_out_by_key(with_columns(work, cutoff, rows, by), by, float(tags[SHARE_TAG]))


def lacking(who: str, needed: Iterable[str], there: Collection[str], instead: str) -> str | None:
    """Why a model cannot be applied to rows of features with these columns, with what to do instead; or None."""
    gone = next((name for name in needed if name not in there), None)
    return gone and f"{who} needs the feature '{gone}', which the features lack; make them with it, or {instead}."


class ChangedHoldOutError(Exception):
    """The rows that a report was made on are not the hold-out any more."""


def opponent(work: Work, champion: Version, stored: StoredModel, report: Report, cutoff: str | None) -> "Opponent":
    """The champion's scores on the rows of a report, in their order, with those rows that it was not trained on.

    Raises:
        ChangedHoldOutError: the hold-out is not the one of the report.
        ValueError: it lacks a column that the champion needs, or nothing is known of the champion.
    """
    import numpy as np

    from ml_platform.ml.gates import Opponent

    if not is_known(champion):
        raise ValueError(
            f"the champion, version {champion.number}, was put into MLflow by hand, and nothing says what it was "
            "trained on; put another one in its place: ml-platform promote or rollback."
        )
    then, now = int(work.tracking.run_of(report.run_id).tags[HOLD_OUT_TAG]), features_version(work)
    rows = labelled_rows(work, cutoff, "hold_out", now)
    judged = rows if then == now else labelled_rows(work, cutoff, "hold_out", then)
    # a column that has come since is in the table of all days
    if not set(judged.columns) <= set(rows.columns) or not rows.select(judged.columns).equals(judged):
        raise ChangedHoldOutError("the hold-out has changed since the evaluation; materialize evaluation again.")
    loaded = work.tracking.load_model(champion.address)
    # a feature that the transform gives no more stays in the table, without values
    there = [name for name in rows.columns if rows[name].null_count() < rows.height]
    who, instead = f"the champion, version {champion.number},", "put this model in its place: ml-platform promote"
    if reason := lacking(who, loaded.columns, there, instead):
        raise ValueError(reason)
    scores = loaded.predict(rows)
    if work.use_case.task == "multiclass_classification":
        own = work.tracking.load_model(stored.address).pipeline.classes_.tolist()
        its = loaded.pipeline.classes_.tolist()
        none = np.zeros(len(scores))
        scores = np.column_stack([scores[:, its.index(one)] if one in its else none for one in own])
    return Opponent(scores, np.asarray(unseen(work, champion.tags, cutoff, rows)), loaded.threshold)
