"""Simulated months with and without drift: how often monitoring raises a false alarm, and how soon it finds a shift."""

from dataclasses import dataclass
from statistics import mean, median

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Target, at_most, table
from ml_platform.ml.drift import departures, usual
from ml_platform.use_case import Drift

DAYS, FEATURES, WEEK, WEEKEND = 90, 30, 7, 5
SERIES = 3 * FEATURES + 5
"""What the error rate is spread over: mean, spread and nulls of each feature; score, number of rows, performance."""
SHIFTS = (0.1, 0.2, 0.3, 0.4, 0.5)
SOON = 5
RULES = Drift()


@dataclass(frozen=True)
class World:
    """Days of features in standard deviations of their rows: means of so many rows, with effects of the day.

    The champion was trained on the first `trained` of the `reference` days. `day_effect` is the standard deviation of
    the effects, `memory` their autocorrelation from day to day. Every feature and the number of rows have their own
    level on week-ends.
    """

    title: str
    trained: int = 28
    reference: int = 42
    rows: int = 5_000
    day_effect: float = 0.05
    memory: float = 0.0


WORLDS = (
    World("28 of 42 days trained on"),
    World("the same, no day effects", day_effect=0.0),
    World("the same, strong day effects", day_effect=0.1),
    World("the same, slow noise", memory=0.5),
    World("the same, very slow noise", memory=0.8),
    World("7 of 21 days trained on", trained=7, reference=21),
)


def alarms(world: World, seed: int, shift: float = 0.0) -> NDArray[np.bool_]:
    """Which features (90, 30) are red on which day, if the first one is shifted by so many standard deviations."""
    random = np.random.default_rng(seed)
    count = world.reference + DAYS
    weekday = np.arange(count) % WEEK
    noise, effects = random.normal(size=(2, count, FEATURES))
    for number in range(1, count):
        fresh = np.sqrt(1 - world.memory**2) * effects[number]
        effects[number] = world.memory * effects[number - 1] + fresh
    weekends = np.where((weekday >= WEEKEND)[:, None], random.normal(scale=0.5, size=FEATURES), 0.0)
    values = weekends + world.day_effect * effects + noise / np.sqrt(world.rows)
    values[world.reference :, 0] += shift
    sampled = np.full_like(values, 1 / world.rows)
    then, now = slice(world.reference), slice(world.reference, None)
    of_level = np.zeros((world.reference, FEATURES), np.bool_)
    of_level[: world.trained] = True
    known = usual(values[then], sampled[then], weekday[then], of_level, WEEK)
    rate = RULES.false_alarms / (DAYS * SERIES)
    statistic, bound = departures(known, values[now], sampled[now], weekday[now], RULES.window, rate)
    return np.abs(statistic) >= np.fmax(bound, RULES.least)


def days_to(world: World, seed: int, shift: float) -> int:
    """The day, counted from 1, on which a shift is found; one more than there are if it is not."""
    found = np.flatnonzero(alarms(world, seed, shift)[:, 0])
    return int(found[0]) + 1 if len(found) else DAYS + 1


def measured(seeds: int) -> tuple[list[str], list[Target]]:
    """Tables of false alarms and of days to detection, and what was to be reached in the first world."""
    false, late = [], []
    for world in WORLDS:
        quiet = [alarms(world, seed) for seed in range(seeds)]
        features, days = [int(red.any(axis=0).sum()) for red in quiet], [int(red.sum()) for red in quiet]
        false.append([world.title, f"{mean(features):.2f}", f"{mean(days):.2f}", str(max(features))])
        cells = []
        for shift in SHIFTS:
            found = [days_to(world, seed, shift) for seed in range(seeds)]
            within = sum(one <= SOON for one in found) / seeds
            cells.append(f"{median(found):g} ({within:.0%})" if median(found) <= DAYS else f"- ({within:.0%})")
        late.append([world.title, *cells])
    tables = [
        table(
            [
                f"{DAYS} days x {FEATURES} features, no drift",
                "features with an alarm",
                "alarms (feature x day)",
                "most",
            ],
            false,
        ),
        table([f"median days to find a shift (within {SOON} days)", *(f"{shift:g} SD" for shift in SHIFTS)], late),
    ]
    first = WORLDS[0]
    false_alarms = mean(int(alarms(first, seed).sum()) for seed in range(seeds))
    missed = sum(days_to(first, seed, 0.3) > SOON for seed in range(seeds)) / seeds
    return tables, [
        at_most(f"alarms in {DAYS} days x {FEATURES} features", false_alarms, 1, ""),
        at_most(f"shifts of 0.3 SD not found in {SOON} days", 100 * missed, 5, " %"),
    ]
