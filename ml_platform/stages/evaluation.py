"""The stage `evaluation`: the model of each cutoff on its hold-out, next to a linear baseline and the prior."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from ml_platform.io_managers.models import Models
from ml_platform.ml.report import Report
from ml_platform.resources.tracking import Tracking
from ml_platform.stages.attributes import asset_key, asset_spec, check_specs, stage_step
from ml_platform.stages.training_rows import features_input, rows_of
from ml_platform.stages.verdicts import Verdict, conclude, partition_keys
from ml_platform.use_case import UseCase

DASH = "\u00a0-\u00a0"  # an interval stays on one line


def build(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset `evaluation` of a use case."""
    spec = asset_spec(
        use_case,
        "evaluation",
        "Metrics of the model on its hold-out with 95 % intervals, next to baselines on the same rows.",
        kinds={"scikitlearn"},
    )

    @stage_step(
        spec,
        io_manager="reports",
        ins={"features": features_input(use_case), "model": dg.AssetIn(asset_key(use_case, "model"))},
        checks=check_specs(use_case, "evaluation", measurable="The metrics are defined on the hold-out."),
    )
    def evaluation(
        context: dg.AssetExecutionContext, features: pl.LazyFrame, model: Models, tracking: Tracking
    ) -> Iterator[dg.Output[Any]]:
        from ml_platform.ml.evaluation import evaluate

        verdicts, reports, metadata = [], {}, {}
        for cutoff in partition_keys(context):
            rows = rows_of(use_case, features, cutoff)
            try:
                trained = model[cutoff]
                report = evaluate(use_case, trained, rows.train, rows.hold_out, (rows.trained_on, rows.held_out))
            except (ValueError, LookupError) as error:
                verdicts.append(Verdict("measurable", cutoff, str(error)))
                continue
            points = {name: interval.point for name, interval in report.metrics.items()}
            tracking.log_evaluation(report.run_id, points, report.figures)
            verdicts.append(Verdict("measurable", cutoff, metadata={"hold_out_rows": rows.hold_out.height}))
            reports[cutoff], metadata[cutoff] = report, shown(report)
        yield from conclude(context, spec.key, reports, verdicts, metadata)

    return evaluation


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
