"""Drift: the stated rate of false alarms, shifts that are found in time, and what must not alarm."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.drift import DAYS, SOON, WORLDS, World, alarms, days_to
from ml_platform.ml.drift import LEAST_FREEDOM, departures, usual

SEEDS = range(20)
PLAIN, _, _, SLOW, _, SHORT = WORLDS
WEEKDAY = np.arange(1000) % 7


@pytest.mark.parametrize("world", [PLAIN, SLOW, SHORT], ids=lambda world: world.title)
def test_in_ninety_days_of_thirty_features_at_most_one_false_alarm_is_expected(world: World) -> None:
    """Features with week-ends of their own and effects of the day, in slow noise too: the first is what is stated."""
    assert np.mean([alarms(world, seed).any(axis=0).sum() for seed in SEEDS]) <= 1


@pytest.mark.parametrize(("world", "share"), [(PLAIN, 1.0), (SHORT, 0.6)], ids=["28 days", "7 days"])
def test_a_shift_of_three_tenths_is_found_within_five_days(world: World, share: float) -> None:
    assert np.mean([days_to(world, seed, 0.3) <= SOON for seed in SEEDS]) >= share


def test_a_shift_on_the_first_day_of_a_series_of_one_season_is_judged_by_students_t() -> None:
    """By hand: eight days at 1 or -1 around a flat line, six degrees of freedom without those of level and line."""
    values = np.array([[1.0], [-1.0], [-1.0], [1.0], [1.0], [-1.0], [-1.0], [1.0]])
    whole = np.ones((8, 1), np.bool_)
    known = usual(values, np.zeros((8, 1)), np.zeros(8, np.intp), whole, 1)
    assert (known.level[0, 0], known.freedom[0]) == (0, 6)
    assert known.variance[0] == pytest.approx(8 / 6)
    assert known.inflation[0] == pytest.approx(1)  # the days disagree with those before as often as not
    departure, bound = departures(known, np.array([[3.0]]), np.zeros((1, 1)), np.zeros(1, np.intp), 1, 0.05)
    assert departure[0, 0] == 3
    assert bound[0, 0] == pytest.approx(2.4469 * np.sqrt(8 / 6 * (1 + 1 / 8)), rel=1e-4)


@given(
    seed=st.integers(0, 1000),
    scale=st.floats(0.01, 100),
    offset=st.floats(-100, 100),
    window=st.integers(1, 10),
)
@settings(max_examples=30, deadline=None)
def test_units_do_not_matter_and_no_partition_sees_those_after_it(
    seed: int, scale: float, offset: float, window: int
) -> None:
    values = np.random.default_rng(seed).normal(size=(70, 4))
    whole, noise = np.ones((40, 4), np.bool_), np.full((70, 4), 1e-9)

    def judged(given: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", days: int) -> list[np.ndarray]:  # type: ignore[type-arg]
        known = usual(given[:40], scale**2 * noise[:40], WEEKDAY[:40], whole, 7)
        now = slice(40, 40 + days)
        return list(departures(known, given[now], scale**2 * noise[now], WEEKDAY[now], window, 1e-3))

    plain, other = judged(values, 30), judged(scale * values + offset, 10)
    for one, two in zip(plain, other, strict=True):
        np.testing.assert_allclose(scale * one[:10], two, rtol=1e-6, atol=1e-6 * scale)


def test_a_missing_partition_leaves_its_neighbours_judged() -> None:
    values = np.random.default_rng(0).normal(size=(60, 2))
    values[45, 0] = np.nan
    known = usual(values[:40], np.zeros((40, 2)), WEEKDAY[:40], np.ones((40, 2), np.bool_), 7)
    departure, bound = departures(known, values[40:], np.zeros((20, 2)), WEEKDAY[40:60], 5, 1e-3)
    assert np.isnan(departure).nonzero()[0].tolist() == [5]
    assert np.isfinite(bound[:, 0]).all()
    assert bound[6, 0] / bound[12, 0] > bound[6, 1] / bound[12, 1]  # a mean of four partitions may be off by more


def test_a_reference_of_too_few_partitions_judges_nothing() -> None:
    """A week has a day for each season and none to spare."""
    for days, judged in ((7 + LEAST_FREEDOM, False), (7 + LEAST_FREEDOM + 1, True)):
        values = np.random.default_rng(1).normal(size=(days + 1, 1))
        whole = np.ones((days, 1), np.bool_)
        known = usual(values[:days], np.zeros((days, 1)), WEEKDAY[:days], whole, 7)
        _, bound = departures(known, values[days:], np.zeros((1, 1)), WEEKDAY[days : days + 1], 5, 1e-3)
        assert np.isfinite(bound).all() == judged


def test_what_goes_up_already_in_the_reference_is_found_when_it_goes_on() -> None:
    rising = np.arange(42 + DAYS)[:, None] * 0.05 + np.random.default_rng(2).normal(scale=0.05, size=(42 + DAYS, 1))
    of_level = (np.arange(42) < 28)[:, None]
    known = usual(rising[:42], np.zeros((42, 1)), WEEKDAY[:42], of_level, 7)
    departure, bound = departures(known, rising[42:], np.zeros((DAYS, 1)), WEEKDAY[42 : 42 + DAYS], 5, 1e-4)
    assert (departure[7:] > bound[7:]).all()
