"""The stage `promotion`: the gates, and the alias `champion` for the model that passes them all."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from ml_platform.fingerprints import recipe
from ml_platform.io_managers.publishing import Key
from ml_platform.ml.contract import PARTITION
from ml_platform.ml.report import Report
from ml_platform.ml.training import TrainedModel, feature_columns, fit
from ml_platform.partitions import day_of
from ml_platform.resources.tracking import CUTOFF_TAG, USE_CASE_TAG, StoredModel, Tracking, Version
from ml_platform.stages.attributes import asset_key, asset_spec, check_specs
from ml_platform.stages.chunks import one_by_one
from ml_platform.stages.definition import Computed, Keys, Prepared, StageDefinition, Verdict
from ml_platform.stages.model import PACKAGES
from ml_platform.stages.training_rows import CutoffRows, features_dep, training_rows
from ml_platform.stages.work import Work
from ml_platform.use_case import Gate, UseCase

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COLUMNS = {
    "decided_at": pl.Datetime("us"),
    "version": pl.Int64(),
    "decision": pl.String(),
    "champion": pl.Int64(),
    "reason": pl.String(),
}


@dataclass(frozen=True)
class Decision:
    """What became of a model: whether it is champion now, which version that is, and why."""

    version: Version
    champion: Version | None
    promoted: bool
    reason: str


def build(use_case: UseCase) -> StageDefinition:
    """The stage `promotion` of a use case: a table with one row for each cutoff, what was decided and why."""
    spec = asset_spec(
        use_case,
        "promotion",
        f"Registers the model as a version of `{use_case.registry.name}` and makes it champion if it passes all gates.",
        deps=[features_dep(use_case), asset_key(use_case, "model"), asset_key(use_case, "evaluation")],
        kinds={"mlflow", "deltalake"},
    )
    gates = {gate.name: _describe(gate.model_dump(exclude_none=True)) for gate in use_case.gates}
    config = {
        "gates": [gate.model_dump() for gate in use_case.gates],
        "refit": use_case.model.refit,
        "registry": use_case.registry.name,
    }
    return StageDefinition(
        assets={"promotion": spec},
        checks=[
            *check_specs(
                use_case, "promotion", {"evaluated": "The model was evaluated on the rows that its hold-out has now."}
            ),
            # a red gate is a verdict on the model, not on the decision, which is published either way
            *check_specs(use_case, "promotion", gates, blocking=False),
        ],
        recipe=lambda: recipe(["ml_platform.ml.gates:judge"], config, PACKAGES),
        prepare=prepare,
        chunks=one_by_one,
    )


def prepare(work: Work, keys: Keys) -> Prepared:
    """Look up the evaluations of cutoffs.

    A decision on an evaluation stands, whoever became champion after it.
    """
    evaluations = work.data_versions("evaluation", keys)

    def compute(due: Keys) -> Iterator[Computed]:
        for cutoff in due:
            verdicts, decision = judged(work, cutoff)
            decisions = {cutoff: decision} if decision else {}
            metadata = {cutoff: _shown(decision)} if decision else {}
            yield Computed("promotion", decisions_table(decisions), metadata, verdicts)

    return Prepared({cutoff: {"evaluation": evaluations[cutoff]} for cutoff in keys}, compute)


def judged(work: Work, cutoff: Key) -> tuple[list[Verdict], Decision | None]:
    """What each gate says of a cutoff's model, and what became of it."""
    from ml_platform.ml.gates import judge

    use_case, tracking = work.use_case, work.tracking
    report = work.reports.reports(asset_key(use_case, "evaluation"), [cutoff]).get(cutoff)
    if report is None or (stored := tracking.model_of(use_case.name, cutoff or "")).run_id != report.run_id:
        reason = "this model has no evaluation; materialize evaluation first."
        return [Verdict("evaluated", cutoff, reason, acceptable=False)], None
    rows, champion = training_rows(work, cutoff), tracking.champion(use_case.registry.name)
    try:
        scores = champion_scores(use_case, tracking, champion, report, rows)
    except ValueError as error:
        return [Verdict("evaluated", cutoff, str(error), acceptable=False)], None
    reasons = {gate.name: judge(use_case, gate, report, scores) for gate in use_case.gates}
    verdicts = [
        Verdict(gate.name, cutoff, reasons[gate.name], _measured(report, gate), blocks=False) for gate in use_case.gates
    ]
    return [Verdict("evaluated", cutoff), *verdicts], decide(work, rows, stored, champion, reasons)


def champion_scores(
    use_case: UseCase, tracking: Tracking, champion: Version | None, report: Report, rows: CutoffRows
) -> "NDArray[np.float64] | None":
    """The champion's scores on the report's rows, in their order; None where it is no fair opponent.

    That is where there is none yet, where it is this model itself, and where it is of a newer cutoff: that one may have
    been trained on these rows.

    Raises:
        ValueError: the hold-out is not the one of the report, or lacks a column that the champion needs.
    """
    if champion is None or champion.run_id == report.run_id or champion.cutoff > rows.cutoff:
        return None
    key = use_case.contract.key
    loaded = tracking.load_model(champion.address)
    if lost := [name for name in loaded.columns if name not in rows.hold_out.columns]:
        raise ValueError(
            f"the champion, version {champion.number}, needs the feature '{lost[0]}', which is gone; restore it."
        )
    scored = rows.hold_out.select(key).with_columns(pl.Series("champion", loaded.predict(rows.hold_out).tolist()))
    joined = report.scores.join(scored, on=key, how="left", maintain_order="left")
    if joined["champion"].null_count() or joined.height != rows.hold_out.height:
        raise ValueError("the hold-out has changed since the evaluation; materialize evaluation again.")
    import numpy as np

    return np.asarray(joined["champion"].to_list(), dtype=np.float64)


def decide(
    work: Work, rows: CutoffRows, stored: StoredModel, champion: Version | None, gates: Mapping[str, str | None]
) -> Decision:
    """Register the model, and make it champion if no gate and no newer champion speaks against it."""
    use_case, tracking = work.use_case, work.tracking
    name, tags = use_case.registry.name, {USE_CASE_TAG: use_case.name, CUTOFF_TAG: rows.cutoff}
    failed = [f"{gate}: {reason}" for gate, reason in gates.items() if reason is not None]
    if failed:
        return Decision(tracking.register(name, stored, tags), champion, promoted=False, reason=" ".join(failed))
    if champion is not None and champion.cutoff > rows.cutoff:
        reason = f"the champion, version {champion.number}, is of the newer cutoff {champion.cutoff}."
        return Decision(tracking.register(name, stored, tags), champion, promoted=False, reason=reason)
    if use_case.model.refit:
        stored, tags = refitted(work, rows), {**tags, "refit": "true"}
    version = tracking.register(name, stored, tags)
    tracking.crown(version)
    return Decision(version, version, promoted=True, reason="all gates passed." if gates else "there are no gates.")


def refitted(work: Work, rows: CutoffRows) -> StoredModel:
    """The model trained once more, on all rows whose label was known by the cutoff."""
    use_case, tracking = work.use_case, work.tracking
    columns = feature_columns(use_case, rows.known.columns)
    with tracking.run(work.step, use_case.name, rows.cutoff) as run:
        run.log_params({"estimator": use_case.model.estimator, "rows": rows.known.height, "refit": True})
        pipeline = fit(use_case, rows.known, use_case.model.estimator, use_case.model.params)
        return tracking.store_model(
            TrainedModel(pipeline, use_case.task, columns, run.mlflow_run_id), rows.known.head()
        )


def decisions_table(decisions: Mapping[str | None, Decision]) -> pl.DataFrame:
    """Decisions as rows, with the cutoff as partition where there are partitions."""
    rows = [
        {
            "decided_at": datetime.now(UTC).replace(tzinfo=None),
            "version": one.version.number,
            "decision": "promoted" if one.promoted else "kept",
            "champion": one.champion.number if one.champion else None,
            "reason": one.reason,
        }
        for one in decisions.values()
    ]
    table = pl.DataFrame(rows, schema=COLUMNS)
    if None in decisions:
        return table
    return table.with_columns(pl.Series(PARTITION, [day_of(str(cutoff)) for cutoff in decisions], pl.Date))


def _measured(report: Report, gate: Gate) -> dict[str, float]:
    interval = report.metrics.get(gate.metric)
    return {gate.metric: interval.point, "low": interval.low, "high": interval.high} if interval else {}


def _describe(gate: Mapping[str, Any]) -> str:
    metric, (condition, bound) = gate["metric"], next((key, value) for key, value in gate.items() if key != "metric")
    return f"{metric} {condition.replace('_', ' ')} {bound}, judged on the 95 % interval."


def _shown(decision: Decision) -> dict[str, Any]:
    return {
        "version": decision.version.number,
        "promoted": decision.promoted,
        "champion": decision.champion.number if decision.champion else "none",
        "reason": decision.reason,
    }
