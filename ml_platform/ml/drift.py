"""Drift: whether a number of each partition has left what it was in the reference, beyond how it varies between days.

A partition is one observation: rows of one day share its weather, its campaigns and its mistakes, so that the number
of rows says nothing about how much days differ. Arrays have a row for each partition and a column for each series, one
number a partition; NaN where there is none.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Seasons = NDArray[np.intp]

LEAST_FREEDOM: Final = 5
"""The least degrees of freedom that the variance between partitions is estimated with; below it nothing is judged."""
MOST_MEMORY: Final = 0.95


@dataclass(frozen=True)
class Usual:
    """What each of s series was in the reference: its level in each of g seasons, and how it varied around it.

    `level` (g, s) is the mean over the partitions of the season, `error` (g, s) one over their number. `variance` (s,)
    is that of one partition, of which `noise` (s,) is due to the luck of its rows; `inflation` (s,) is by how much more
    a mean of several partitions varies than if they were independent; `freedom` (s,) the degrees of freedom.
    """

    level: Floats
    error: Floats
    variance: Floats
    noise: Floats
    inflation: Floats
    freedom: Floats


def usual(values: Floats, noise: Floats, seasons: Seasons, of_level: NDArray[np.bool_], season_count: int) -> Usual:
    """What series (n, s) were in n consecutive partitions of the reference, each in one of the seasons (n,).

    `noise` (n, s) is the sampling variance of each value. The level is taken over the partitions in `of_level` (n, s);
    where they lack a season, over all of the reference.

    The variance is that around the season's mean and a straight line through the reference, as in an analysis of
    covariance (Montgomery, Design and Analysis of Experiments, 2017, section 15.3): where the reference itself goes
    somewhere, that is no reason to let what comes go further. It is never less than the noise. The inflation is
    (1 + r) / (1 - r), that of a first-order autoregression with autocorrelation r (Bayley & Hammersley 1946, The
    effective number of independent observations); r is that around the seasons' means, corrected for its bias in short
    series (Marriott & Pope 1954) and not below 0.
    """
    there = np.isfinite(values)
    member = (seasons[:, None] == np.arange(season_count)).astype(np.float64)  # (n, g)
    filled = np.where(there, values, 0.0)
    all_count, all_sum = member.T @ there, member.T @ filled
    some_count, some_sum = member.T @ (there & of_level), member.T @ np.where(of_level, filled, 0.0)
    whole = (some_count > 0).all(axis=0)
    count, total = np.where(whole, some_count, all_count), np.where(whole, some_sum, all_sum)
    time = np.where(there, np.arange(len(values), dtype=np.float64)[:, None], 0.0)
    around, moment = (np.where(there, one - member @ _ratio(member.T @ one, all_count), 0.0) for one in (filled, time))
    residual = around - moment * np.nan_to_num(_ratio((around * moment).sum(axis=0), (moment**2).sum(axis=0)))
    freedom = np.fmax(there.sum(axis=0) - (all_count > 0).sum(axis=0) - 1, 0)
    sampled = _ratio(np.where(there, noise, 0.0).sum(axis=0), there.sum(axis=0))
    squares = (residual**2).sum(axis=0)
    n = there.sum(axis=0)
    memory = _ratio((around[1:] * around[:-1]).sum(axis=0), (around**2).sum(axis=0))
    memory = np.clip(np.nan_to_num((n * memory + 1) / np.maximum(n - 3, 1)), 0.0, MOST_MEMORY)
    return Usual(
        level=_ratio(total, count),
        error=_ratio(np.ones_like(count), count),
        variance=np.fmax(_ratio(squares, freedom), sampled),
        noise=sampled,
        inflation=(1 + memory) / (1 - memory),
        freedom=freedom.astype(np.float64),
    )


def departures(
    known: Usual, values: Floats, noise: Floats, seasons: Seasons, window: int, error_rate: float
) -> tuple[Floats, Floats]:
    """How far the mean of each series over the last `window` partitions is from its level, and how far it may be.

    Both (m, s), for m consecutive partitions, in the units of the values. By luck alone the second is exceeded with
    probability `error_rate` in each partition and series. It is a two-sided bound on the difference of two means by
    Student's t, with partitions as observations; its variance counts that the level is an estimate too, which charts
    with known parameters leave out (Jensen et al. 2006, Effects of parameter estimation on control chart properties).
    NaN where there are too few partitions in the reference.
    """
    from scipy.special import stdtrit

    season_count = len(known.level)
    member = seasons[:, None] == np.arange(season_count)
    away = values - known.level[seasons]
    there = np.isfinite(away)
    count = _over(there.astype(np.float64), window)
    single = known.variance + np.fmax(noise - known.noise, 0.0)
    single_mean = _ratio(_over(np.where(there, single, 0.0), window), count)
    of_mean = np.fmin(known.inflation * _ratio(single_mean, count), single_mean)
    of_level = sum(
        _over((there & member[:, [season]]).astype(np.float64), window) ** 2 * np.nan_to_num(known.error[season])
        for season in range(season_count)
    )
    of_level = np.fmin(known.inflation * _ratio(np.asarray(of_level), count**2), 1.0) * known.variance
    judged = known.freedom >= LEAST_FREEDOM
    quantile = np.where(judged, stdtrit(np.where(judged, known.freedom, 1.0), 1 - error_rate / 2), np.nan)
    departure = _ratio(_over(np.where(there, away, 0.0), window), count)
    return np.where(there, departure, np.nan), quantile * np.sqrt(of_mean + of_level)


def _over(values: Floats, window: int) -> Floats:
    """The sums over each row and those before it, `window` in all."""
    total = np.cumsum(values, axis=0)
    total[window:] -= total[:-window].copy()
    return total


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """The quotient, NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: Floats = np.where(denominator == 0, np.nan, numerator / denominator)
    return quotient
