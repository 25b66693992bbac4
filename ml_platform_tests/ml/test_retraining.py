"""The decision to train again: wanted if something departed, and nothing speaks against it."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_platform.ml.retraining import State, decide
from ml_platform.use_case import Retraining

RULES = Retraining(enough_labels=100, cool_down=timedelta(days=7), tries=2)
CUTOFF, SINCE = date(2024, 3, 1), date(2024, 2, 10)
SEEN, UNSEEN = SINCE + timedelta(days=1), SINCE - timedelta(days=1)


def state(**changes: Any) -> State:
    """A drift that a new model may cure, changed."""
    found = {
        "cutoff": CUTOFF,
        "departed": ["amount (mean)"],
        "since": SINCE,
        "models": {date(2024, 2, 1): UNSEEN},
        "labels": 100,
        "blocked": None,
    }
    return State(**{**found, **changes})


def test_a_drift_with_enough_labels_wants_a_model() -> None:
    decision = decide(RULES, state())
    assert (decision.wanted, decision.tries, decision.given_up, decision.cutoff) == (True, 0, False, CUTOFF)
    assert decision.why == (
        "Retraining is wanted: amount (mean) departed since 2024-02-10, and a model of 2024-03-01 would be trained on "
        "100 labelled rows since then."
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"departed": [], "since": None}, "Retraining is not wanted: nothing has drifted"),
        ({"labels": 99}, "would be trained on 99 labelled rows since then; 100 are needed."),
        (
            {"models": {date(2024, 2, 24): UNSEEN}},
            "newest model is of 2024-02-24; the next one waits for a cutoff of 2024-03-02 or later.",
        ),
        ({"blocked": "features has no rows for 2024-02-05."}, "but features has no rows for 2024-02-05."),
    ],
)
def test_what_speaks_against_it_is_said(changes: dict[str, Any], said: str) -> None:
    decision = decide(RULES, state(**changes))
    assert not decision.wanted
    assert not decision.given_up
    assert said in decision.why


@pytest.mark.parametrize("cool_down", [timedelta(), timedelta(hours=12), timedelta(days=1)])
def test_a_model_of_the_newest_cutoff_is_not_trained_again_however_short_the_cool_down(cool_down: timedelta) -> None:
    rules = Retraining(enough_labels=100, cool_down=cool_down)
    decision = decide(rules, state(models={CUTOFF: UNSEEN}))
    assert decision.why.endswith("is of 2024-03-01; the next one waits for a cutoff of 2024-03-02 or later.")
    assert decide(rules, state(models={CUTOFF - timedelta(days=1): UNSEEN})).wanted


def test_what_no_model_cures_is_given_up_after_the_tries_and_models_from_before_do_not_count() -> None:
    models = {date(2024, 2, 12): SEEN, date(2024, 2, 15): UNSEEN}
    assert decide(RULES, state(models=models)).wanted
    decision = decide(RULES, state(models={**models, date(2024, 2, 20): SEEN}))
    assert (decision.wanted, decision.given_up, decision.tries) == (False, True, 2)
    assert "2 models trained on rows of it did not end it" in decision.why


@given(
    labels=st.integers(0, 10**6),
    ages=st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=5),
    blocked=st.sampled_from([None, "an override holds."]),
    departed=st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True),
)
def test_it_is_wanted_only_if_all_conditions_hold(
    labels: int, ages: list[tuple[int, bool]], blocked: str | None, departed: list[str]
) -> None:
    models = {CUTOFF - timedelta(days=age): SEEN if saw else UNSEEN for age, saw in ages}
    found = state(labels=labels, models=models, blocked=blocked, departed=departed)
    tries = sum(until > SINCE for until in models.values())
    cooled = all(cutoff + RULES.cool_down <= CUTOFF for cutoff in models)
    expected = bool(departed) and labels >= 100 and cooled and blocked is None and tries < RULES.tries
    assert decide(RULES, found).wanted == expected
