"""Whether a model shall be trained, decided from what monitoring has found so far, the ledger and the versions."""

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Any

import polars as pl

from ml_platform.ml.contract import PARTITION
from ml_platform.ml.monitored import DEPARTED
from ml_platform.ml.profiles import COLUMN, METRIC
from ml_platform.ml.retraining import Decision, State, decide
from ml_platform.ml.splits import Window, windows_before
from ml_platform.partitions import data_partitions, day_of, known_by, newest_cutoff, overlapping, span, windows_of
from ml_platform.resources.registry import Version
from ml_platform.stages import ledger
from ml_platform.stages.opponent import UNTIL_TAG
from ml_platform.stages.work import Work


def told(decision: Decision) -> dict[str, Any]:
    """A decision as metadata."""
    cutoff = {"cutoff": f"{decision.cutoff}"} if decision.wanted else {}
    return {"wanted": decision.wanted, "why": decision.why, "tries": decision.tries, **cutoff}


def decided(work: Work, history: pl.DataFrame, registered: Sequence[Version]) -> Decision:
    """Whether a model shall be trained, by the newest partition of all that was found so far.

    It would be that of the newest cutoff that is reached at the end of this partition.
    """
    use_case, definition = work.use_case, data_partitions(work.use_case)
    if definition is None:
        return Decision(False, "Retraining is not wanted: without partitions each run over new data trains a model.")
    if history.is_empty():
        return Decision(False, "Retraining is not wanted: nothing is monitored yet.")
    newest = history.filter(pl.col(PARTITION) == pl.col(PARTITION).max())
    red = newest.filter(pl.col("verdict") == DEPARTED)
    last = f"{newest[PARTITION][0]}"
    cutoff = newest_cutoff(use_case, windows_of(definition, [last])[last].end)
    if cutoff is None:
        return Decision(False, "Retraining is not wanted: no cutoff is reached yet.")
    names = [
        f"{one} ({metric})" for one, metric in red.sort("since", COLUMN, METRIC).select(COLUMN, METRIC).iter_rows()
    ]
    until = {
        one.number: (one, datetime.fromisoformat(one.tags[UNTIL_TAG])) for one in registered if UNTIL_TAG in one.tags
    }
    since, labels, blocked = None, 0, None
    if names:
        since = min(red["since"].to_list())
        _, learned = until.get(newest["model_version"][0], (None, datetime.min))
        after = max(learned, datetime.combine(since, time()))
        labels, blocked = new_labels(work, after, cutoff), against(work, cutoff)
    models = {day_of(one.cutoff): moment.date() for one, moment in until.values()}
    return decide(use_case.monitoring.retraining, State(day_of(cutoff), names, since, models, labels, blocked))


def new_labels(work: Work, after: datetime, cutoff: str) -> int:
    """The number of labelled rows after a moment that the model of a cutoff would be trained on."""
    use_case = work.use_case
    windows = windows_before(datetime.combine(day_of(cutoff), time()), use_case.model, use_case.label)
    trained = windows.known if use_case.model.refit else windows.train
    window = Window(max(trained.start, after), trained.end)
    if window.end <= window.start:
        return 0
    rows = work.rows("features", overlapping(use_case, window))
    is_new = window.select(str(use_case.contract.event_time)) & pl.col(use_case.label.column).is_not_null()
    return int(rows.filter(is_new).select(pl.len()).collect().item())


def against(work: Work, cutoff: str) -> str | None:
    """Why the model of a cutoff could not be trained, or become champion, as a sentence; None if it could."""
    last, needed = ledger.read(work).last, known_by(work.use_case, cutoff)
    if last is not None and last.holds(datetime.now(UTC).date()):
        return f"{last.by} has put version {last.version} in place until {last.until}: {last.why}"
    missing = [str(key) for key, version in work.data_versions("features", needed).items() if version is None]
    return f"features has no rows for {span(missing)}; mend what was refused there first." if missing else None
