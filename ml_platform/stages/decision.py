"""The decision on a model: whether it becomes champion, and what speaks against it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ml_platform.fingerprints import digest
from ml_platform.io_managers.publishing import Key
from ml_platform.ml.report import Report
from ml_platform.ml.training import TrainedModel, feature_columns, rows_hash
from ml_platform.resources.registry import CUTOFF_TAG, DIGEST_TAG, EVALUATED_TAG, USE_CASE_TAG, StoredModel, Version
from ml_platform.stages import ledger
from ml_platform.stages.book import Book
from ml_platform.stages.evaluation import WARNINGS
from ml_platform.stages.fitting import fitted_once_more, kept
from ml_platform.stages.model import (
    HOLD_OUT_ROWS_TAG,
    PREDICTIONS_TAG,
    TRAINING_ROWS_TAG,
    features_version,
    parity_problem,
    prediction_tags,
    run_tags,
)
from ml_platform.stages.opponent import trained_tags
from ml_platform.stages.training_rows import Part, labelled_rows, split
from ml_platform.stages.work import Work

SAME_MODEL_TAGS = (TRAINING_ROWS_TAG, HOLD_OUT_ROWS_TAG, PREDICTIONS_TAG)


@dataclass(frozen=True)
class Decision:
    """What became of a model: whether it is champion now, which version that is, and why; the address of its page.

    `gates` has the reason why it fails each gate, or None.
    """

    version: Version
    champion: int | None
    promoted: bool
    reason: str
    gates: Mapping[str, str | None] = field(default_factory=dict)
    page: str = ""


@dataclass(frozen=True)
class Candidate:
    """A model that may become champion, with why it fails each gate, or None.

    `known_as` are the versions as which it is registered, two if it was trained once more; `is_champion` is that one of
    them that is champion already, or None.
    """

    cutoff: Key
    stored: StoredModel
    report: Report
    gates: Mapping[str, str | None]
    evaluation: str | None
    known_as: Sequence[Version]
    is_champion: Version | None


def decide(work: Work, book: Book, champion: Version | None, candidate: Candidate) -> Decision | None:
    """Register the model, and make it champion if nothing speaks against it; None if the ledger has grown meanwhile."""
    if against := _against(work, book, champion, candidate):
        return kept_back(work, book, candidate, against)
    version = candidate.is_champion
    reason = "all gates passed." if candidate.gates else "there are no gates."
    if version is None:
        if work.use_case.model.refit:
            stored, problem = refitted(work, candidate)
            if problem is not None:
                return kept_back(work, book, candidate, f"parity of the model trained once more: {problem}")
            version = registered(work, candidate, stored, "known", {EVALUATED_TAG: candidate.stored.run_id})
        else:
            version = registered(work, candidate, candidate.stored, "train", {})
        passed = json.dumps(candidate.gates)
        made = ledger.entry(work, book, "promoted", version, reason, gates=passed, evaluation=candidate.evaluation)
        if not ledger.write(work, book, made):
            return None
    return Decision(version, version.number, promoted=True, reason=reason)


def kept_back(work: Work, book: Book, candidate: Candidate, reason: str) -> Decision:
    """The decision against a model, which is registered all the same."""
    version = candidate.is_champion or registered(work, candidate, candidate.stored, "train", {})
    return Decision(version, book.last.version if book.last else None, promoted=False, reason=reason)


def registered(work: Work, candidate: Candidate, stored: StoredModel, part: Part, more: Mapping[str, str]) -> Version:
    """A model of the candidate's cutoff as a version, with what it was trained on, a part of the rows."""
    use_case, cutoff = work.use_case, candidate.cutoff
    tags = {USE_CASE_TAG: use_case.name, CUTOFF_TAG: cutoff or "", **trained_tags(split(use_case, cutoff), part)}
    kept = work.tracking.run_of(stored.run_id).tags
    digest = {DIGEST_TAG: kept[DIGEST_TAG]} if DIGEST_TAG in kept else {}  # none of models stored by earlier versions
    return work.registry.register(use_case.registry.name, stored, {**tags, **digest, **more})


def _against(work: Work, book: Book, champion: Version | None, candidate: Candidate) -> str | None:
    """What speaks against a promotion, as sentences, or None."""
    findings = {name: reason for name, reason in candidate.report.findings.items() if name not in WARNINGS}
    failed = [f"{name}: {reason}" for name, reason in {**findings, **candidate.gates}.items() if reason is not None]
    if failed:
        return " ".join(failed)
    if champion is not None and champion.cutoff > (candidate.cutoff or ""):
        return f"the champion, version {champion.number}, is of the newer cutoff {champion.cutoff}."
    last, today = book.last, datetime.now(UTC).date()
    if last is not None and last.holds(today) and candidate.is_champion is None:
        return f"{last.by} has put version {last.version} in place until {last.until}: {last.why}"
    if left := book.left([*candidate.known_as, *_left_alike(work, book, candidate)]):
        return f"{left.by} has rolled back from this model on {left.at:%Y-%m-%d}: {left.why}"
    return None


def _left_alike(work: Work, book: Book, candidate: Candidate) -> list[Version]:
    """The versions that were rolled back from and are this model, of the same rows with the same predictions."""
    if all(one.event != "rolled_back" for one in book.entries):
        return []
    own = work.tracking.run_of(candidate.stored.run_id).tags
    left = [one for one in work.registry.versions(work.use_case.registry.name) if book.left([one])]
    theirs = [work.tracking.run_of(one.judged_run_id).tags for one in left]
    return [
        one
        for one, tags in zip(left, theirs, strict=True)
        if all(name in own and own[name] == tags.get(name) for name in SAME_MODEL_TAGS)
    ]


def refitted(work: Work, candidate: Candidate) -> tuple[StoredModel, str | None]:
    """The model trained once more, on all rows whose label was known by the cutoff, and its problem with parity.

    Once is enough: what a decision before this one has trained and registered is taken as it is.
    """
    if found := next((one for one in candidate.known_as if EVALUATED_TAG in one.tags), None):
        return StoredModel(found.run_id, found.address), None
    use_case, tracking, commit = work.use_case, work.tracking, features_version(work)
    known, model = labelled_rows(work, candidate.cutoff, "known", commit), tracking.load_model(candidate.stored.address)
    columns, parent = feature_columns(use_case, known.columns), candidate.stored.run_id
    trained = rows_hash(use_case, known, columns)
    version = digest([parent, trained])
    again = fitted_once_more(work, known, version, model)

    def log() -> tuple[StoredModel, TrainedModel]:
        cutoff = candidate.cutoff or ""
        with tracking.run(work.step, use_case.name, cutoff, began=again.began, parent=parent) as run:
            run.log_params({"estimator": use_case.estimator, "rows": known.height, "refit": True})
            refit = again.model(work, columns, run.mlflow_run_id)
            hold_out = labelled_rows(work, candidate.cutoff, "hold_out", commit)
            predicted = prediction_tags(refit.predict(hold_out), commit, rows_hash(use_case, hold_out, columns))
            run.set_tags({**run_tags(work, commit, trained), **predicted})
            run.log_dict(use_case.model_dump(mode="json"), "use_case.json")
            return tracking.store_model(refit, known.head()), refit

    stored, refit = kept(work, again, version, log)
    return stored, parity_problem(work, known, refit, stored)
