"""The stage `promotion`: the gates, and the alias `champion` for the model that passes them all."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from ml_platform.fingerprints import recipe
from ml_platform.io_managers.publishing import Key
from ml_platform.ml.contract import PARTITION
from ml_platform.ml.report import Report
from ml_platform.partitions import day_of
from ml_platform.resources.registry import Version
from ml_platform.stages import last_good, ledger
from ml_platform.stages.attributes import asset_key, asset_spec, check_specs
from ml_platform.stages.cards import condition, model_card
from ml_platform.stages.chunks import one_by_one
from ml_platform.stages.decision import Candidate, Decision, decide
from ml_platform.stages.definition import FOLLOWS, Computed, Keys, Prepared, StageDefinition, Verdict
from ml_platform.stages.failures import failure_class
from ml_platform.stages.fitting import NotLoggedError
from ml_platform.stages.model import PACKAGES
from ml_platform.stages.opponent import ChangedHoldOutError, opponent
from ml_platform.stages.training_rows import features_dep
from ml_platform.stages.work import Work
from ml_platform.use_case import FailureClass, Gate, UseCase

if TYPE_CHECKING:
    from ml_platform.ml.gates import Opponent

COLUMNS = {
    "decided_at": pl.Datetime("us"),
    "version": pl.Int64(),
    "decision": pl.String(),
    "champion": pl.Int64(),
    "reason": pl.String(),
    "gates": pl.String(),
}
ATTEMPTS = 10
PAGE = "report.html"


def build(use_case: UseCase) -> StageDefinition:
    """The stage `promotion` of a use case: a table with one row for each cutoff, what was decided and why."""
    spec = asset_spec(
        use_case,
        "promotion",
        f"Registers the model as a version of `{use_case.registry.name}` and makes it champion if it passes all gates.",
        deps=[
            features_dep(use_case),
            *([features_dep(use_case, "validated_data")] if use_case.contract.entity and not use_case.windows else []),
            asset_key(use_case, "model"),
            asset_key(use_case, "evaluation"),
        ],
        kinds={"mlflow", "deltalake"},
    )
    gates = {gate.name: f"{condition(gate)}, judged on the 95 % interval." for gate in use_case.gates}
    if last_good.is_asked_for(use_case):
        gates[last_good.CHECK] = "The model was trained on no partition that is served by its last good value."
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
            *check_specs(
                use_case,
                "promotion",
                {**gates, ledger.IN_LEDGER: "The alias `champion` was moved by nobody but the ledger's writers."},
                blocking=False,
            ),
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
            verdicts, decision = judged(work, cutoff, evaluations[cutoff])
            decisions = {cutoff: decision} if decision else {}
            metadata = {cutoff: _shown(work, decision)} if decision else {}
            yield Computed("promotion", decisions_table(decisions), metadata, verdicts)

    return Prepared({cutoff: {"evaluation": evaluations[cutoff]} for cutoff in keys}, compute)


def judged(work: Work, cutoff: Key, evaluation: str | None) -> tuple[list[Verdict], Decision | None]:
    """What each gate says of a cutoff's model, and what became of it; or why it cannot be judged."""
    try:
        return _judged(work, cutoff, evaluation)
    except (ledger.LedgerError, ChangedHoldOutError, NotLoggedError) as error:
        kind: FailureClass = "transient" if failure_class(error) == "transient" else "data"
        return [Verdict("evaluated", cutoff, str(error), acceptable=False, failure_class=kind)], None


def _judged(work: Work, cutoff: Key, evaluation: str | None) -> tuple[list[Verdict], Decision | None]:
    from ml_platform.ml.gates import judge

    use_case, tracking = work.use_case, work.tracking
    report = work.reports.reports(asset_key(use_case, "evaluation"), [cutoff]).get(cutoff)
    try:
        stored = tracking.model_of(use_case.name, cutoff or "")
    except LookupError as error:
        return [Verdict("evaluated", cutoff, str(error), {FOLLOWS: "model"}, acceptable=False)], None
    if report is None or stored.run_id != report.run_id:
        reason = "this model has no evaluation; materialize evaluation first."
        return [Verdict("evaluated", cutoff, reason, {FOLLOWS: "evaluation"}, acceptable=False)], None
    moved_by_hand: str | None = None
    for _ in range(ATTEMPTS):
        book, champion, moved, *_ = ledger.settled(work, begin_anew=True)
        moved_by_hand = moved_by_hand or moved
        versions = {one.number: one for one in work.registry.versions(use_case.registry.name)}
        known = [one for one in versions.values() if stored.run_id in {one.run_id, one.judged_run_id}]
        own = next((one for one in known if champion and one.number == champion.number), None)
        if own:  # put there by this run before it was cut off, by another, or by hand: judged as it was then
            champion = versions.get(book.before or 0)
        against, untold = None, None
        try:
            against = None if champion is None else opponent(work, champion, stored, report, cutoff)
        except ValueError as error:  # whoever compares with the champion cannot tell, all others can
            untold = str(error)
        reasons = {
            gate.name: untold if untold and gate.opponent == "champion" else judge(use_case, gate, report, against)
            for gate in use_case.gates
        }
        if last_good.is_asked_for(use_case):
            reasons[last_good.CHECK] = last_good.problem(work, cutoff)
        candidate = Candidate(cutoff, stored, report, reasons, evaluation, known, own)
        if decision := decide(work, book, champion, candidate):
            measured = {gate.name: _measured(report, gate, champion, against) for gate in use_case.gates}
            verdicts = [
                Verdict(name, cutoff, reason, measured.get(name, {}), blocks=False) for name, reason in reasons.items()
            ]
            by_hand = Verdict(ledger.IN_LEDGER, cutoff, moved_by_hand, blocks=False, warning=True)
            page = written(work, cutoff, report, reasons, decision, _compared_on(report, champion, against))
            return [Verdict("evaluated", cutoff), *verdicts, by_hand], replace(decision, gates=reasons, page=page)
    raise RuntimeError(f"the ledger of {use_case.name} was written by others {ATTEMPTS} times; run promotion again.")


def written(
    work: Work,
    cutoff: Key,
    report: Report,
    gates: Mapping[str, str | None],
    decision: Decision,
    compared_on: str | None,
) -> str:
    """Store the page about a version beside it; the page's address."""
    from ml_platform.ml.model_card import render

    word = "Promoted" if decision.promoted else f"Kept back, champion is {decision.champion or 'none'}"
    if not decision.promoted and decision.champion == decision.version.number:
        word = "Champion still"
    said = f"{word}: {decision.reason}"
    card = model_card(work, decision.version.number, cutoff, report, gates, said, compared_on)
    return work.tracking.log_text(decision.version.run_id, render(card), PAGE)


def decisions_table(decisions: Mapping[str | None, Decision]) -> pl.DataFrame:
    """Decisions as rows, with the cutoff as partition where there are any and they have partitions."""
    rows = [
        {
            "decided_at": datetime.now(UTC).replace(tzinfo=None),
            "version": one.version.number,
            "decision": "promoted" if one.promoted else "kept",
            "champion": one.champion,
            "reason": one.reason,
            "gates": json.dumps(dict(one.gates)),
        }
        for one in decisions.values()
    ]
    table = pl.DataFrame(rows, schema=COLUMNS)
    if not decisions or None in decisions:
        return table
    return table.with_columns(pl.Series(PARTITION, [day_of(str(cutoff)) for cutoff in decisions], pl.Date))


def _compared_on(report: Report, champion: Version | None, against: "Opponent | None") -> str | None:
    """On which rows of the hold-out a model was compared with the champion, where there is one to compare with."""
    if champion is None or against is None:
        return None
    unseen, rows = _unseen(report, against), report.scores.height
    some = f"all {rows:,}" if unseen == rows else f"those {unseen:,} of {rows:,}"
    return f"on {some} rows of the hold-out that version {champion.number} was not trained on"


def _unseen(report: Report, against: "Opponent") -> int:
    return report.scores.height if against.rows is None else int(against.rows.sum())


def _measured(report: Report, gate: Gate, champion: Version | None, against: "Opponent | None") -> dict[str, Any]:
    """What a gate was judged by: the metric with its interval, and who it was compared with on how many rows."""
    interval = report.metrics.get(gate.metric)
    found: dict[str, Any] = {}
    if interval is not None:
        found = {gate.metric: interval.point, "low": interval.low, "high": interval.high}
    if gate.opponent == "champion" and champion is not None and against is not None:
        unseen = _unseen(report, against)
        found |= {
            "champion": champion.number,
            "rows_compared": unseen,
            "rows_the_champion_was_trained_on": report.scores.height - unseen,
        }
    return found


def _shown(work: Work, decision: Decision) -> dict[str, Any]:
    file = {} if decision.page.startswith("http") else {"report_file": dg.MetadataValue.path(decision.page)}
    return {
        "version": decision.version.number,
        "promoted": decision.promoted,
        "champion": decision.champion or "none",
        "reason": decision.reason,
        "report": dg.MetadataValue.url(work.tracking.mlflow_page(decision.version.run_id, PAGE)),
        **file,
    }
