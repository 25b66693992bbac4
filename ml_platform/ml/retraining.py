"""The decision whether a model shall be trained because the data has drifted or the model has become worse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from ml_platform.use_case import Retraining

SHOWN = 3
DAY = timedelta(days=1)


@dataclass(frozen=True)
class State:
    """What is known, after the newest partition, of a model of `cutoff`: the newest cutoff that is reached by then.

    `departed` names what has drifted or become worse, since the day `since`. `models` has for the cutoff of each model
    trained so far the day that its training rows end before. `labels` is the number of labelled rows since that began
    which the model would be trained on and the champion was not; `blocked` says in a sentence why it could not be
    trained or promoted, None where it could.
    """

    cutoff: date
    departed: Sequence[str]
    since: date | None
    models: Mapping[date, date]
    labels: int
    blocked: str | None


@dataclass(frozen=True)
class Decision:
    """Whether a model shall be trained now, why or why not in a sentence, and how many were tried.

    `tries` are the models that were trained on rows of the drift; `given_up` says that they were too many. There is a
    `cutoff` if a model is wanted: its own.
    """

    wanted: bool
    why: str
    tries: int = 0
    given_up: bool = False
    cutoff: date | None = None


def decide(rules: Retraining, state: State) -> Decision:
    """Whether a model shall be trained now."""
    if not state.departed or state.since is None:
        return Decision(False, "Retraining is not wanted: nothing has drifted and the model is as good as it was.")
    named = ", ".join(state.departed[:SHOWN])
    more = len(state.departed) - SHOWN
    cause = f"{named}{f' and {more} more' if more > 0 else ''} departed since {state.since}"
    tries = sum(trained_until > state.since for trained_until in state.models.values())
    if tries >= rules.tries:
        times = "1 model" if tries == 1 else f"{tries} models"
        why = f"{cause}, and {times} trained on rows of it did not end it; look at the data and the features."
        return Decision(False, f"Retraining is not wanted: {why}", tries, given_up=True)
    newest = max(state.models, default=None)
    if newest is not None and (until := newest + max(rules.cool_down, DAY)) > state.cutoff:
        why = f"{cause}, but the newest model is of {newest}; the next one waits for a cutoff of {until} or later."
        return Decision(False, f"Retraining is not wanted yet: {why}", tries)
    found = f"a model of {state.cutoff} would be trained on {state.labels:,} labelled rows since then"
    if state.labels < rules.enough_labels:
        why = f"{cause}, but {found}; {rules.enough_labels:,} are needed."
        return Decision(False, f"Retraining is not wanted yet: {why}", tries)
    if state.blocked is not None:
        return Decision(False, f"Retraining is not wanted yet: {cause}, but {state.blocked}", tries)
    return Decision(True, f"Retraining is wanted: {cause}, and {found}.", tries, cutoff=state.cutoff)
