"""The stage `evaluation`: the model of each cutoff on its hold-out, next to a linear baseline and the prior."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from ml_platform.fingerprints import digest, recipe
from ml_platform.io_managers.models import Models
from ml_platform.io_managers.publishing import Key
from ml_platform.ml.report import IMPORTANCE_SHIFT, MODEL, Interval, Report
from ml_platform.ml.training import TrainedModel, rows_hash
from ml_platform.stages.attributes import asset_key, asset_spec, check_specs
from ml_platform.stages.chunks import one_by_one
from ml_platform.stages.definition import FOLLOWS, Computed, Keys, Prepared, StageDefinition, Verdict
from ml_platform.stages.model import PACKAGES, features_version, no_rows, prediction_tags, training_config
from ml_platform.stages.opponent import is_known, lacking
from ml_platform.stages.training_rows import features_dep, features_versions, labelled_rows, split, with_columns
from ml_platform.stages.work import Work
from ml_platform.use_case import UseCase

DASH = "\u00a0-\u00a0"  # an interval stays on one line
WARNINGS = {IMPORTANCE_SHIFT}


def build(use_case: UseCase) -> StageDefinition:
    """The stage `evaluation` of a use case."""
    validated = [features_dep(use_case, "validated_data")] if described_by(use_case) else []
    spec = asset_spec(
        use_case,
        "evaluation",
        "Metrics of the model on its hold-out with 95 % intervals, next to baselines on the same rows.",
        deps=[features_dep(use_case), *validated, asset_key(use_case, "model")],
        kinds={"scikitlearn"},
    )
    config = {
        **training_config(use_case),
        "evaluation": use_case.evaluation.model_dump(mode="json"),
    }
    blocking = {
        "measurable": "The metrics are defined on the hold-out.",
        "separate": "No row, and without partitions no entity, stands on both sides of the split.",
    }
    return StageDefinition(
        assets={"evaluation": spec},
        checks=[
            *check_specs(use_case, "evaluation", blocking),
            # a model that fails one of these is evaluated all the same, and not promoted
            *check_specs(use_case, "evaluation", findings(use_case), blocking=False),
        ],
        recipe=lambda: recipe(["ml_platform.ml.evaluation:evaluate"], config, PACKAGES),
        prepare=prepare,
        chunks=one_by_one,
    )


def findings(use_case: UseCase) -> dict[str, str]:
    """The checks of a model's behaviour by name, with what each says."""
    declared, latency = use_case.evaluation, use_case.evaluation.latency
    budgets = {"latency_one_row": latency.one_row_ms, "latency_thousand_rows": latency.thousand_rows_ms}
    return {
        **{one.name: f"The score {one.rule.replace('_', ' ')} {one.column}." for one in declared.behaviour},
        **{name: f"A prediction takes at most {ms:g} ms." for name, ms in budgets.items() if ms is not None},
        IMPORTANCE_SHIFT: "The model looks at the same features as the champion; a warning.",
    }


def described_by(use_case: UseCase) -> list[str]:
    """The columns that an evaluation needs besides the features: the entity and those that cut slices."""
    entity = [use_case.contract.entity] if use_case.contract.entity else []
    return list(dict.fromkeys([*entity, *use_case.evaluation.slices]))


def prepare(work: Work, keys: Keys) -> Prepared:
    """Look up the models and the features of cutoffs."""
    models = work.data_versions("model", keys)
    # a model that is trained again is another one, though it be made of the same
    runs = {
        cutoff: work.tracking.model_of(work.use_case.name, cutoff or "").run_id for cutoff in keys if models[cutoff]
    }
    features = {cutoff: digest(list(features_versions(work, cutoff).values())) for cutoff in keys}

    def compute(due: Keys) -> Iterator[Computed]:
        stored = Models(work.tracking, work.use_case.name, due)
        for cutoff in due:
            if models[cutoff] is None:
                reason = "this cutoff has no model; materialize model first."
                verdict = Verdict("measurable", cutoff, reason, {FOLLOWS: "model"}, acceptable=False)
                yield Computed("evaluation", {}, {}, [verdict])
            else:
                yield _computed(work, cutoff, stored[cutoff])

    return Prepared({cutoff: {"model": runs.get(cutoff), "features": features[cutoff]} for cutoff in keys}, compute)


def _computed(work: Work, cutoff: Key, model: TrainedModel) -> Computed:
    """The report on the model of a cutoff, with what is said of it."""
    import numpy as np

    from ml_platform.ml.evaluation import evaluate
    from ml_platform.ml.leakage import shared_between, told

    use_case, where, commit = work.use_case, split(work.use_case, cutoff), features_version(work)
    train, hold_out = labelled_rows(work, cutoff, "train", commit), labelled_rows(work, cutoff, "hold_out", commit)
    if hold_out.is_empty():
        reason = no_rows(where, "hold_out")
        return Computed("evaluation", {}, {}, [Verdict("measurable", cutoff, reason, acceptable=False)])
    # what the transform gives no more has left the rows to train on, which the model learned it from
    there = set(train.columns).intersection(hold_out.columns)
    if lacks := lacking("the model", model.columns, there, "materialize model again"):
        return Computed("evaluation", {}, {}, [Verdict("measurable", cutoff, lacks, acceptable=False)])
    try:
        described = with_columns(work, cutoff, hold_out, described_by(use_case))
        leaks = shared_between(use_case, train, hold_out)
        separate = Verdict("separate", cutoff, told(leaks) if leaks else None)
        if leaks and cutoff not in work.accepted("evaluation"):
            return Computed("evaluation", {}, {}, [separate])
        champion = champion_importance(work, model.run_id)
        report = evaluate(use_case, model, train, hold_out, described, champion, (where["train"], where["hold_out"]))
    except ValueError as error:
        return Computed("evaluation", {}, {}, [Verdict("measurable", cutoff, str(error), acceptable=False)])
    points = {name: interval.point for name, interval in report.metrics.items()}
    work.tracking.log_evaluation(report.run_id, points, report.figures, report.importance)
    scores = np.asarray(report.scores[MODEL].to_list(), dtype=np.float64)
    for tag, value in prediction_tags(scores, commit, rows_hash(use_case, hold_out, model.columns)).items():
        work.tracking.set_tag(report.run_id, tag, value)
    verdicts = [
        Verdict("measurable", cutoff, metadata={"hold_out_rows": hold_out.height}),
        separate,
        *(
            Verdict(name, cutoff, reason, blocks=False, warning=name in WARNINGS)
            for name, reason in report.findings.items()
        ),
    ]
    return Computed("evaluation", {cutoff: report}, {cutoff: shown(report)}, verdicts)


def champion_importance(work: Work, run_id: str) -> Mapping[str, Interval] | None:
    """The importance of features for the champion by its own evaluation, None where there is no other model's."""
    champion = work.registry.champion(work.use_case.registry.name)
    if champion is None or not is_known(champion) or champion.judged_run_id == run_id:
        return None
    return work.tracking.importance_of(champion.judged_run_id)


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
