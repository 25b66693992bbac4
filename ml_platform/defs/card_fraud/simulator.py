"""Simulates card payments and their frauds, day by day, after a published description."""

from datetime import date, datetime
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

_RADIUS = 5.0
_DAY_SECONDS = 86_400
_FRAUD_AMOUNT = 220.0
_TERMINALS_A_DAY, _TERMINAL_DAYS = 2, 28
_CUSTOMERS_A_DAY, _CUSTOMER_DAYS = 3, 14
_MEAN_DELAY_SECONDS = 86_400.0
_IDS_A_DAY = 1_000_000
_POPULATION, _COMPROMISES, _PAYMENTS, _DIRT, _DELAYS = range(5)

_Ids = NDArray[np.int64]


class _Population(NamedTuple):
    """The customers, one element each; `near[first : first + near_count]` are the terminals in reach of one."""

    mean_amount: NDArray[np.float64]
    daily_payments: NDArray[np.float64]
    first: _Ids
    near_count: _Ids
    near: _Ids


def transactions(
    start: datetime,
    end: datetime,
    *,
    customers: int = 5_000,
    terminals: int = 10_000,
    seed: int = 0,
    dirty: float = 0.0,
    late: float = 0.0,
    as_of: date | str | None = None,
    drift_from: date | str | None = None,
    drift: float = 1.0,
) -> pl.DataFrame:
    """All card payments with `start` <= TX_DATETIME < `end`, two midnights without a time zone, sorted by time.

    The laws are those of Le Borgne, Siblini, Lebichot, Bontempi: Reproducible machine learning for credit card fraud
    detection, 2022, chapter 3. Two departures make a day's rows the same in every window: compromises have always been
    running, and a payment of a compromised customer is hit with probability 1/3, once, instead of exactly a third of
    them. Two terminals and three customers a day are compromised at any size, so a smaller world has more fraud.

    Args:
        start: first day.
        end: day after the last one.
        customers: number of customers, 3 or more, ids from 0.
        terminals: number of terminals, 2 or more, ids from 0.
        seed: 0 or more; another seed is another world.
        dirty: share of each day's rows, rounded down, that break the contract: an amount that is negative, null or not
            a number, a null customer, a fraud flag of 2, an id that two payments share.
        late: probability of a payment to arrive late, on average a day after its TX_DATETIME; needs `as_of`.
        as_of: moment of delivery; payments that arrive after it are missing. Without it all have arrived.
        drift_from: first day whose amounts are multiplied by `drift`.
        drift: factor on the amounts; the frauds stay the payments they were without it.

    Returns:
        TRANSACTION_ID (YYYYMMDD and six digits, so at most 1,000,000 payments a day), TX_DATETIME (whole seconds),
        CUSTOMER_ID, TERMINAL_ID, TX_AMOUNT (rounded to cents), TX_FRAUD (0 or 1), TX_FRAUD_SCENARIO (0 genuine,
        1 amount, 2 terminal, 3 customer).

    Raises:
        ValueError: an argument is out of its range, or a day has more payments than ids.
    """
    first, last = _day(start, "start"), _day(end, "end")
    drift_day = last if drift_from is None else _day(drift_from, "drift_from")
    delivery = None if as_of is None else _moment(as_of, "as_of")
    for wrong, sentence in (
        (last <= first, f"end is {end}, give a day after start, {start}"),
        (customers < _CUSTOMERS_A_DAY, f"customers is {customers}, give {_CUSTOMERS_A_DAY} or more"),
        (terminals < _TERMINALS_A_DAY, f"terminals is {terminals}, give {_TERMINALS_A_DAY} or more"),
        (seed < 0, f"seed is {seed}, give 0 or more"),
        (not 0 <= dirty <= 1, f"dirty is {dirty}, give a share between 0 and 1"),
        (not 0 <= late <= 1, f"late is {late}, give a share between 0 and 1"),
        (late > 0 and as_of is None, f"late is {late} without as_of, give the moment of delivery as as_of"),
        (not 0 < drift < np.inf, f"drift is {drift}, give a factor above 0"),
        (drift != 1 and drift_from is None, f"drift is {drift} without drift_from, give its first day as drift_from"),
    ):
        if wrong:
            raise ValueError(f"card payment simulator: {sentence}.")
    population = _population(customers, terminals, seed)
    rngs = [_generator(seed, _COMPROMISES, day) for day in range(first - _TERMINAL_DAYS + 1, last)]
    bad_terminals = [rng.choice(terminals, _TERMINALS_A_DAY, replace=False) for rng in rngs]
    bad_customers = [rng.choice(customers, _CUSTOMERS_A_DAY, replace=False) for rng in rngs]
    frames = []
    for day in range(first, last):
        recent = slice(day - first, day - first + _TERMINAL_DAYS)
        recent_terminals, recent_customers = bad_terminals[recent], bad_customers[recent][-_CUSTOMER_DAYS:]
        frame = _payments(day, population, recent_terminals, recent_customers, _generator(seed, _PAYMENTS, day))
        if day >= drift_day:
            frame = frame.with_columns((pl.col("TX_AMOUNT") * drift).round(2))
        if dirty:
            frame = _with_dirt(frame, dirty, _generator(seed, _DIRT, day))
        if delivery:
            frame = _delivered(frame, late, delivery, _generator(seed, _DELAYS, day))
        frames.append(frame)
    return pl.concat(frames)


def _moment(value: date | str, argument: str) -> datetime:
    """The moment a date, a datetime or an ISO string stands for."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise ValueError(f"card payment simulator: {argument} is {value!r}, give a date like 2018-04-01.") from error
    if moment.tzinfo:
        raise ValueError(f"card payment simulator: {argument} is {value}, give it without a time zone.")
    return moment


def _day(value: date | str, argument: str) -> int:
    """The proleptic ordinal of the day that begins at `value`."""
    moment = _moment(value, argument)
    if moment != datetime.fromordinal(moment.toordinal()):
        raise ValueError(f"card payment simulator: {argument} is {value}, give a midnight: days are made as a whole.")
    return moment.toordinal()


def _generator(seed: int, purpose: int, day: int = 0) -> np.random.Generator:
    """The random numbers of one purpose on one day, independent of all others."""
    return np.random.default_rng([seed, purpose, day])


def _population(customers: int, terminals: int, seed: int) -> _Population:
    """Customers and terminals uniform in a square of 100 x 100, with the terminals in reach of each customer."""
    rng = _generator(seed, _POPULATION)
    x, y = rng.uniform(0, 100, (2, customers))
    mean_amount, daily_payments = rng.uniform(5, 100, customers), rng.uniform(0, 4, customers)
    terminal_x, terminal_y = rng.uniform(0, 100, (2, terminals))
    by_x = np.argsort(terminal_x)
    # only the strip of terminals with a near x is compared: all pairs would take gigabytes
    left, right = (np.searchsorted(terminal_x[by_x], x + side) for side in (-_RADIUS, _RADIUS))
    strip = right - left
    customer = np.repeat(np.arange(customers), strip)
    terminal = by_x[np.arange(strip.sum()) + np.repeat(left - np.cumsum(strip) + strip, strip)]
    near = np.hypot(x[customer] - terminal_x[terminal], y[customer] - terminal_y[terminal]) < _RADIUS
    count = np.bincount(customer[near], minlength=customers)
    payments = np.where(count > 0, daily_payments, 0.0)
    return _Population(mean_amount, payments, np.cumsum(count) - count, count, terminal[near])


def _payments(
    day: int, population: _Population, terminals: list[_Ids], customers: list[_Ids], rng: np.random.Generator
) -> pl.DataFrame:
    """The payments of one day, given the `terminals` and the `customers` that are compromised on it."""
    customer = np.repeat(np.arange(population.near_count.size), rng.poisson(population.daily_payments))
    seconds = np.floor(rng.normal(_DAY_SECONDS / 2, 20_000, customer.size)).astype(np.int64)
    order = np.argsort(seconds, kind="stable")
    order = order[(seconds[order] >= 0) & (seconds[order] < _DAY_SECONDS)]
    customer, seconds, rows = customer[order], seconds[order], order.size
    midnight = datetime.fromordinal(day)
    if rows > _IDS_A_DAY:
        shortage = f"{midnight:%Y-%m-%d} has {rows} payments and {_IDS_A_DAY} ids, give fewer customers"
        raise ValueError(f"card payment simulator: {shortage}.")
    terminal = population.near[population.first[customer] + rng.integers(population.near_count[customer])]
    mean = population.mean_amount[customer]
    amount = rng.normal(mean, mean / 2)
    amount = np.where(amount < 0, rng.uniform(0, 2 * mean), amount).round(2)
    scenario = np.where(amount > _FRAUD_AMOUNT, 1, 0)
    scenario[np.isin(terminal, terminals)] = 2
    hit = np.isin(customer, customers) & (rng.random(rows) < 1 / 3)
    scenario[hit] = 3
    return pl.DataFrame(
        {
            "TRANSACTION_ID": int(f"{midnight:%Y%m%d}") * _IDS_A_DAY + np.arange(rows),
            "TX_DATETIME": np.datetime64(midnight, "us") + seconds.astype("timedelta64[s]"),
            "CUSTOMER_ID": customer,
            "TERMINAL_ID": terminal,
            "TX_AMOUNT": np.where(hit, 5 * amount, amount).round(2),
            "TX_FRAUD": (scenario > 0).astype(np.int64),
            "TX_FRAUD_SCENARIO": scenario,
        }
    )


def _with_dirt(frame: pl.DataFrame, share: float, rng: np.random.Generator) -> pl.DataFrame:
    """The rows of one day, at most `share` of them broken; both payments that share an id count as broken."""
    rows = rng.choice(frame.height, int(share * frame.height), replace=False)
    negative, null, not_a_number, nobody, flag, one, other = (rows[kind::7] for kind in range(7))
    ids = frame["TRANSACTION_ID"]
    return frame.with_columns(
        ids.scatter(one[: other.size], ids[other]),
        frame["CUSTOMER_ID"].scatter(nobody, None),
        frame["TX_AMOUNT"].scatter(negative, -1.0).scatter(null, None).scatter(not_a_number, np.nan),
        frame["TX_FRAUD"].scatter(flag, 2),
    )


def _delivered(frame: pl.DataFrame, late: float, as_of: datetime, rng: np.random.Generator) -> pl.DataFrame:
    """The rows of one day that have arrived at `as_of`."""
    delay = np.where(rng.random(frame.height) < late, rng.exponential(_MEAN_DELAY_SECONDS, frame.height), 0.0)
    arrival = frame["TX_DATETIME"] + pl.Series((delay * 1e6).astype("timedelta64[us]"))
    return frame.filter(arrival <= as_of)
