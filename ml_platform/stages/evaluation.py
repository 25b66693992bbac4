"""The stage `evaluation`: the model of each cutoff on its hold-out, next to a linear baseline and the prior."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import dagster as dg

from ml_platform.fingerprints import digest, recipe
from ml_platform.io_managers.models import Models
from ml_platform.ml.report import Report
from ml_platform.stages.attributes import asset_key, asset_spec, check_specs
from ml_platform.stages.chunks import one_by_one
from ml_platform.stages.definition import Computed, Keys, Prepared, StageDefinition, Verdict
from ml_platform.stages.model import PACKAGES, training_config
from ml_platform.stages.training_rows import features_dep, features_versions, training_rows
from ml_platform.stages.work import Work
from ml_platform.use_case import UseCase

DASH = "\u00a0-\u00a0"  # an interval stays on one line


def build(use_case: UseCase) -> StageDefinition:
    """The stage `evaluation` of a use case."""
    spec = asset_spec(
        use_case,
        "evaluation",
        "Metrics of the model on its hold-out with 95 % intervals, next to baselines on the same rows.",
        deps=[features_dep(use_case), asset_key(use_case, "model")],
        kinds={"scikitlearn"},
    )
    config = {**training_config(use_case), "threshold": use_case.model.threshold}
    return StageDefinition(
        assets={"evaluation": spec},
        checks=check_specs(use_case, "evaluation", {"measurable": "The metrics are defined on the hold-out."}),
        recipe=lambda: recipe(["ml_platform.ml.evaluation:evaluate"], config, PACKAGES),
        prepare=prepare,
        chunks=one_by_one,
    )


def prepare(work: Work, keys: Keys) -> Prepared:
    """Look up the models and the features of cutoffs."""
    models = work.data_versions("model", keys)
    # a model that is trained again is another one, though it be made of the same
    runs = {
        cutoff: work.tracking.model_of(work.use_case.name, cutoff or "").run_id for cutoff in keys if models[cutoff]
    }
    features = {cutoff: digest(list(features_versions(work, cutoff).values())) for cutoff in keys}

    def compute(due: Keys) -> Iterator[Computed]:
        from ml_platform.ml.evaluation import evaluate

        stored = Models(work.tracking, work.use_case.name, due)
        for cutoff in due:
            if models[cutoff] is None:
                reason = "this cutoff has no model; materialize model first."
                yield Computed("evaluation", {}, {}, [Verdict("measurable", cutoff, reason, acceptable=False)])
                continue
            rows = training_rows(work, cutoff)
            try:
                report = evaluate(
                    work.use_case, stored[cutoff], rows.train, rows.hold_out, (rows.trained_on, rows.held_out)
                )
            except ValueError as error:
                yield Computed("evaluation", {}, {}, [Verdict("measurable", cutoff, str(error), acceptable=False)])
                continue
            points = {name: interval.point for name, interval in report.metrics.items()}
            work.tracking.log_evaluation(report.run_id, points, report.figures)
            verdict = Verdict("measurable", cutoff, metadata={"hold_out_rows": rows.hold_out.height})
            yield Computed("evaluation", {cutoff: report}, {cutoff: shown(report)}, [verdict])

    return Prepared({cutoff: {"model": runs.get(cutoff), "features": features[cutoff]} for cutoff in keys}, compute)


def shown(report: Report) -> dict[str, Any]:
    """What the UI shows of a report: the metrics as numbers and as a table with intervals, and the pictures."""
    pictures = "\n\n".join(
        f"![{name}](data:image/png;base64,{b64encode(picture).decode()})" for name, picture in report.figures.items()
    )
    return {
        "metrics": dg.MetadataValue.md(table(report)),
        "pictures": dg.MetadataValue.md(pictures),
        "hold_out": report.held_out,
        "hold_out_rows": report.scores.height,
        "trained_on": report.trained_on,
        "mlflow_run": report.run_id,
        **{name: interval.point for name, interval in report.metrics.items()},
        "intervals": {name: [interval.low, interval.high] for name, interval in report.metrics.items()},
        "baselines": {name: dict(values) for name, values in report.baselines.items()},
    }


def table(report: Report) -> str:
    """The metrics of the model with intervals, and those of the baselines, as a Markdown table."""
    names = list(report.baselines)
    lines = [f"| metric | model | 95 % interval | {' | '.join(names)} |", "|---" * (3 + len(names)) + "|"]
    for metric, interval in report.metrics.items():
        baselines = " | ".join(
            f"{value:.4f}" if (value := report.baselines[name].get(metric)) is not None else "-" for name in names
        )
        lines.append(f"| {metric} | {interval.point:.4f} | {interval.low:.4f}{DASH}{interval.high:.4f} | {baselines} |")
    return "\n".join(lines)
