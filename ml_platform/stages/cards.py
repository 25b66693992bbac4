"""The model report of a version: everything known of it on one page, with where each number comes from."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from ml_platform.io_managers.publishing import Key
from ml_platform.ml.report import Report
from ml_platform.partitions import known_by
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.record import newest_materializations
from ml_platform.stages.training_rows import split
from ml_platform.stages.work import Work
from ml_platform.use_case import Gate
from ml_platform.use_case.judging import CONDITIONS

if TYPE_CHECKING:
    from ml_platform.ml.model_card import ModelCard, Origin

UNSAID = {"features", "trained_on", "features_version", "threshold"}


def model_card(
    work: Work,
    number: int,
    cutoff: Key,
    report: Report,
    gates: Mapping[str, str | None],
    decision: str,
    compared_on: str | None = None,
) -> "ModelCard":
    """The report on a version of a cutoff, with why it fails each gate, or None.

    `compared_on` says on which rows it was compared with the champion, by default those of the hold-out.
    """
    from ml_platform.ml.model_card import GateVerdict, ModelCard

    use_case, run = work.use_case, work.tracking.run_of(report.run_id)
    conditions = {gate.name: condition(gate, compared_on) for gate in use_case.gates}
    return ModelCard(
        title=f"{use_case.registry.name} {number}",
        description=use_case.description,
        cutoff=cutoff,
        facts={name: value for name, value in run.params.items() if name not in UNSAID},
        report=report,
        gates=[
            GateVerdict(name, conditions.get(name, ""), passed=reason is None, reason=reason)
            for name, reason in gates.items()
        ],
        decision=decision,
        lineage=list(_lineage(work, cutoff)),
    )


def condition(gate: Gate, compared_on: str | None = None) -> str:
    """The condition of a gate in words; `compared_on` as in `model_card`."""
    bound = next(value for name in CONDITIONS if (value := getattr(gate, name)) is not None)
    margin = f" by more than {gate.margin:g}" if gate.margin else ""
    rows = "in every slice" if gate.of == "worst_slice" else "on the hold-out"
    if gate.opponent == "champion" and compared_on:
        rows = compared_on
    return f"{gate.metric} {gate.condition.replace('_', ' ')} {bound}{margin} {rows}"


def _lineage(work: Work, cutoff: Key) -> Iterator["Origin"]:
    """The materializations that a report's numbers come from; in a run promotion's is the one that is being made."""
    from ml_platform.ml.model_card import Origin

    for stage in ("features", "model", "evaluation", "promotion"):
        key = asset_key(work.use_case, stage)
        keys = known_by(work.use_case, cutoff) if stage == "features" else [cutoff]
        being_made = stage == "promotion" and isinstance(work.context, dg.AssetExecutionContext)
        found = {} if being_made else newest_materializations(work.instance, key, keys)
        runs = {one.run_id for one in found.values()} or {work.step.run.run_id}
        versions = {
            (one.asset_materialization.tags or {}).get(DATA_VERSION_TAG, "")
            for one in found.values()
            if one.asset_materialization
        }
        version = versions.pop() if len(versions) == 1 else ""
        where = split(work.use_case, cutoff)["known"] if stage == "features" else cutoff
        for run in sorted(runs):
            yield Origin(stage, key.to_user_string(), where, version, run, work.tracking.dagster_page(run))
