"""Two registered versions on the same rows: which of them is better, and by how much."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ml_platform.errors import UserError
from ml_platform.ml.evaluation import encoded_labels
from ml_platform.ml.intervals import groups_of, paired_difference
from ml_platform.ml.labels import labels
from ml_platform.ml.metrics import metrics_of
from ml_platform.ml.report import Interval
from ml_platform.resources.registry import Version
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.cards import model_card
from ml_platform.stages.opponent import unseen
from ml_platform.stages.training_rows import labelled_rows, with_columns
from ml_platform.stages.work import Work
from ml_platform.versions.moves import misfit
from ml_platform.versions.trace import run_of

if TYPE_CHECKING:
    from ml_platform.ml.model_card import ModelCard


@dataclass(frozen=True)
class Comparison:
    """The metrics of the right version minus those of the left, on rows that neither was trained on.

    The rows are those of the hold-out of the newer of the two; a metric that is undefined on them is not there.
    """

    left: Version
    right: Version
    hold_out_of: int
    rows: int
    differences: Mapping[str, Interval]


def compare(work: Work, left: Version, right: Version) -> Comparison:
    """Compare two versions on the newer one's hold-out.

    Raises:
        UserError: there are no rows that neither of them was trained on, or one of them no longer fits the features.
    """
    use_case = work.use_case
    for version in (left, right):
        run_of(work, version)
        if reason := misfit(work, version):
            raise UserError(f"version {version.number} cannot be compared: {reason}; restore it, or train it again.")
    newer = max(left, right, key=lambda one: (one.cutoff, one.number))
    cutoff = newer.cutoff or None
    rows = labelled_rows(work, cutoff, "hold_out")
    for version in (left, right):
        rows = rows.filter(unseen(work, version.tags, cutoff, rows))
    if rows.is_empty():
        raise UserError(
            f"there are no rows that neither version {left.number} nor {right.number} was trained on; "
            "materialize the features of the newer one's hold-out."
        )
    models = [work.tracking.load_model(version.address) for version in (left, right)]
    multiclass = use_case.task == "multiclass_classification"
    classes: list[Any] = [model.pipeline.classes_ if multiclass else None for model in models]
    if multiclass and not np.array_equal(classes[0], classes[1]):
        raise UserError(f"versions {left.number} and {right.number} know different classes; they cannot be compared.")
    y = encoded_labels(labels(rows, use_case), classes[0])
    entity = use_case.contract.entity
    groups = groups_of(with_columns(work, cutoff, rows, [entity]).to_series()) if entity else None
    scores, differences = [model.predict(rows) for model in models], {}
    metrics = [metrics_of(use_case, model.threshold) for model in models]  # each decides at its own threshold
    for name in metrics[0]:
        pair = (metrics[0][name], metrics[1][name])
        try:
            differences[name] = paired_difference(pair, y, *scores, groups=groups, seed=use_case.model.seed)
        except ValueError:  # undefined on these rows
            continue
    return Comparison(left, right, newer.number, rows.height, differences)


def page(work: Work, found: Comparison) -> str:
    """Both versions side by side as one HTML page, with all that was found of each.

    Raises:
        UserError: the evaluation of one of them was replaced by that of another model.
    """
    from ml_platform.ml.model_card import render_comparison

    return render_comparison(_card(work, found.left), _card(work, found.right), found.differences)


def _card(work: Work, version: Version) -> "ModelCard":
    key, cutoff = asset_key(work.use_case, "promotion"), version.cutoff or None
    report = work.reports.reports(asset_key(work.use_case, "evaluation"), [cutoff]).get(cutoff)
    decided = work.rows("promotion", [cutoff]).filter(pl.col("version") == version.number).collect()
    if report is None or report.run_id != version.judged_run_id or decided.is_empty():
        raise UserError(
            f"the evaluation of version {version.number} was replaced by that of another model of "
            f"{cutoff or 'this use case'}; {key.to_user_string()} has the newest, so there is no page of it."
        )
    row = decided.row(0, named=True)
    decision = f"{row['decision'].capitalize()}: {row['reason']}"
    return model_card(work, version.number, cutoff, report, json.loads(row["gates"]), decision)
