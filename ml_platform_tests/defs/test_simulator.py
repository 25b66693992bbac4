from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ml_platform.defs.card_fraud import simulator
from ml_platform.defs.card_fraud.simulator import transactions

START = datetime(2018, 4, 1)
DAY = timedelta(days=1)
time, amount, scenario = pl.col("TX_DATETIME"), pl.col("TX_AMOUNT"), pl.col("TX_FRAUD_SCENARIO")


def small(days: int = 7, start: datetime = START, **arguments: Any) -> pl.DataFrame:
    return transactions(start, start + days * DAY, **{"customers": 300, "terminals": 1_000} | arguments)


@pytest.fixture(scope="module")
def year() -> pl.DataFrame:
    return small(365)


@pytest.fixture(scope="module")
def full_size() -> pl.DataFrame:
    return transactions(START, START + 40 * DAY)


@pytest.fixture(scope="module")
def busy_terminals() -> pl.DataFrame:
    """About four payments per terminal and day, so that almost every compromised day shows."""
    return transactions(START, START + 90 * DAY, customers=4_000, terminals=2_000)


def test_the_clean_rows_keep_the_contract(full_size: pl.DataFrame) -> None:
    assert full_size.schema == {
        "TRANSACTION_ID": pl.Int64(),
        "TX_DATETIME": pl.Datetime("us"),
        "CUSTOMER_ID": pl.Int64(),
        "TERMINAL_ID": pl.Int64(),
        "TX_AMOUNT": pl.Float64(),
        "TX_FRAUD": pl.Int64(),
        "TX_FRAUD_SCENARIO": pl.Int64(),
    }
    assert full_size["TRANSACTION_ID"].is_unique().all()
    assert full_size["TX_DATETIME"].is_sorted()
    assert full_size["TX_DATETIME"].is_between(START, START + 40 * DAY, closed="left").all()
    assert full_size.null_count().sum_horizontal().item() == 0
    assert full_size["CUSTOMER_ID"].is_between(0, 4_999).all()
    assert full_size["TERMINAL_ID"].is_between(0, 9_999).all()
    assert full_size["TX_AMOUNT"].is_between(0, 5_000).all()
    assert (full_size["TX_AMOUNT"] == full_size["TX_AMOUNT"].round(2)).all()
    assert (full_size["TX_FRAUD"] == (full_size["TX_FRAUD_SCENARIO"] > 0)).all()


def test_the_size_and_the_fraud_share_are_those_of_the_published_data(full_size: pl.DataFrame) -> None:
    assert full_size.height / 40 == pytest.approx(1_754_155 / 183, rel=0.04)
    assert full_size["TX_FRAUD"].mean() == pytest.approx(14_681 / 1_754_155, abs=0.001)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({}, id="clean"),
        pytest.param({"dirty": 0.1}, id="dirty"),
        pytest.param({"late": 0.3, "as_of": "2018-04-20T12:00:00"}, id="late"),
        pytest.param({"drift_from": "2018-04-20", "drift": 2.0}, id="drift"),
    ],
)
def test_a_day_is_the_same_in_every_window(arguments: dict[str, Any]) -> None:
    day = START + 19 * DAY
    alone = small(1, day, **arguments)
    for window in (small(7, day - 3 * DAY, **arguments), small(60, **arguments)):
        assert_frame_equal(window.filter(time.is_between(day, day + DAY, closed="left")), alone)
    assert alone.height > 0


def test_another_seed_is_another_world() -> None:
    assert small(seed=1).equals(small(seed=1))
    assert not small(seed=1).equals(small(seed=2))


def test_days_differ() -> None:
    first, second = small(1), small(1, START + DAY)
    assert first["TX_AMOUNT"].to_list() != second["TX_AMOUNT"].to_list()


def test_an_id_names_its_day() -> None:
    ids = small(1, datetime(2018, 12, 31))["TRANSACTION_ID"]
    assert ids.to_list() == list(range(20_181_231_000_000, 20_181_231_000_000 + len(ids)))


def test_a_day_with_more_payments_than_ids_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "_IDS_A_DAY", 100)
    with pytest.raises(ValueError, match=r"2018-04-01 has \d+ payments and 100 ids, give fewer customers\.$"):
        small(1)


def test_amounts_are_normal_with_half_the_mean_as_deviation(year: pl.DataFrame) -> None:
    amounts = year.filter(scenario != 3).group_by("CUSTOMER_ID").agg(mean=amount.mean(), std=amount.std(), n=pl.len())
    amounts = amounts.filter(pl.col("n") > 200)
    # replacing the 2.3 % negative amounts lifts the mean to 1.027 and lowers the deviation to 0.473 of the drawn mean
    means = amounts["mean"] / 1.027
    assert (amounts["std"] / means).mean() == pytest.approx(0.473, rel=0.01)
    assert means.quantile(0.25) == pytest.approx(28.75, abs=5)
    assert means.mean() == pytest.approx(52.5, abs=5)
    assert means.quantile(0.75) == pytest.approx(76.25, abs=5)
    assert means.is_between(4.5, 105).all()


def test_payments_a_day_are_poisson_with_a_uniform_mean(year: pl.DataFrame) -> None:
    daily = year.group_by("CUSTOMER_ID", time.dt.date()).agg(n=pl.len())
    rates = daily.group_by("CUSTOMER_ID").agg(
        mean=pl.col("n").sum() / 365, variance=pl.col("n").pow(2).sum() / 365 - (pl.col("n").sum() / 365).pow(2)
    )
    # 96.9 % of the payments fall inside the day
    means = rates["mean"] / 0.969
    assert (rates["variance"] / rates["mean"]).mean() == pytest.approx(1, abs=0.02)
    assert means.mean() == pytest.approx(2, abs=0.2)
    assert means.std() == pytest.approx(4 / 12**0.5, abs=0.1)
    assert means.max() == pytest.approx(4, abs=0.3)


def test_the_time_of_day_is_normal_around_noon(year: pl.DataFrame) -> None:
    seconds = (year["TX_DATETIME"] - year["TX_DATETIME"].dt.truncate("1d")).dt.total_seconds()
    assert seconds.mean() == pytest.approx(43_200, abs=200)
    assert seconds.std() == pytest.approx(18_193, abs=150)  # 20,000 before the payments outside the day are dropped
    assert seconds.is_between(43_200 - 13_490, 43_200 + 13_490).mean() == pytest.approx(0.5 / 0.969, abs=0.01)


def test_a_customer_pays_evenly_at_the_terminals_within_radius_5(year: pl.DataFrame) -> None:
    visits = year.group_by("CUSTOMER_ID", "TERMINAL_ID").agg(n=pl.len())
    per_customer = visits.group_by("CUSTOMER_ID").agg(
        terminals=pl.len(),
        payments=pl.col("n").sum(),
        chi2=pl.col("n").var() * (pl.len() - 1) / pl.col("n").mean(),
    )
    seen = per_customer.filter(pl.col("payments") > 200)
    # a disc of radius 5 around a point of the square covers 0.752 % of it on average, less than 0.785 %: edges
    assert seen["terminals"].mean() == pytest.approx(7.52, abs=0.6)
    several = seen.filter(pl.col("terminals") > 1)
    dispersion = several.select(pl.col("chi2").sum() / (pl.col("terminals") - 1).sum()).item()
    assert dispersion == pytest.approx(1, abs=0.1)


def test_a_customer_without_a_terminal_in_reach_makes_no_payments() -> None:
    reached = small(30, customers=3_000, terminals=2)["CUSTOMER_ID"].n_unique()
    assert 20 < reached < 80  # two discs of at most 0.785 % of the square


def test_an_amount_over_220_is_fraud(full_size: pl.DataFrame) -> None:
    assert (full_size.filter(amount > 220)["TX_FRAUD"] == 1).all()
    assert full_size.filter(scenario == 1)["TX_AMOUNT"].min() > 220  # type: ignore[operator]
    assert full_size.filter(scenario == 1).height > 100


def test_two_terminals_a_day_are_compromised_for_28_days(busy_terminals: pl.DataFrame) -> None:
    day = time.dt.date()
    compromised = busy_terminals.filter(scenario == 2).group_by("TERMINAL_ID")
    spans = compromised.agg(first=day.min(), last=day.max(), days=(day.max() - day.min()).dt.total_days() + 1)
    once = spans.filter(pl.col("days") <= 28)
    assert once["days"].mode().item() == 28
    assert once.height > 0.9 * spans.height
    assert spans.height == pytest.approx((90 + 27) * 2, rel=0.15)
    inside = busy_terminals.join(once, on="TERMINAL_ID").filter(day.is_between(pl.col("first"), pl.col("last")))
    assert (inside["TX_FRAUD_SCENARIO"] >= 2).all()
    active = busy_terminals.filter(scenario == 2).group_by(day).agg(pl.col("TERMINAL_ID").n_unique())["TERMINAL_ID"]
    assert active.max() <= 56  # type: ignore[operator]
    assert active.mean() == pytest.approx(54, abs=3)


def test_three_customers_a_day_pay_five_times_a_third_of_the_time_for_14_days(busy_terminals: pl.DataFrame) -> None:
    hits = busy_terminals.filter(scenario == 3)
    spans = hits.group_by("CUSTOMER_ID").agg(first=time.min(), last=time.max())
    once = spans.filter(pl.col("last").dt.date() - pl.col("first").dt.date() < 14 * DAY)
    assert once.height > 0.9 * spans.height
    assert (once["last"] - once["first"]).max() > 12 * DAY  # type: ignore[operator]
    between = busy_terminals.join(once, on="CUSTOMER_ID").filter(time > pl.col("first"), time < pl.col("last"))
    assert (between["TX_FRAUD_SCENARIO"] == 3).mean() == pytest.approx(1 / 3, abs=0.03)
    assert hits.height / 90 == pytest.approx(3 * 14 * 1.94 / 3, rel=0.1)
    usual = busy_terminals.filter(scenario != 3).group_by("CUSTOMER_ID").agg(usual=amount.mean())
    ratio = hits.join(usual, on="CUSTOMER_ID").select(amount / pl.col("usual")).to_series()
    assert ratio.mean() == pytest.approx(5, rel=0.03)


def test_dirt_breaks_at_most_the_share_asked_and_leaves_the_other_rows() -> None:
    clean, dirty = small(30), small(30, dirty=0.05)
    broken = {
        "negative amount": dirty["TX_AMOUNT"] < 0,
        "null amount": dirty["TX_AMOUNT"].is_null(),
        "amount not a number": dirty["TX_AMOUNT"].is_nan(),
        "null customer": dirty["CUSTOMER_ID"].is_null(),
        "fraud flag of 2": dirty["TX_FRAUD"] == 2,
        "shared id": dirty["TRANSACTION_ID"].is_duplicated(),
    }
    assert all(rows.any() for rows in broken.values())
    flags = pl.DataFrame(broken).select(broken=pl.any_horizontal(pl.all().fill_null(value=False)))["broken"]
    assert_frame_equal(dirty.filter(~flags), clean.filter(~flags))
    shares = clean.with_columns(flags).group_by(time.dt.date()).agg(pl.col("broken").mean())["broken"]
    assert shares.is_between(0.04, 0.05).all()


def test_a_late_payment_is_missing_until_it_arrives() -> None:
    everything = small(30)
    at_the_end = small(30, late=0.2, as_of=START + 30 * DAY)
    a_day_later = small(30, late=0.2, as_of=START + 31 * DAY)
    assert_frame_equal(small(30, late=0.2, as_of=START + 90 * DAY), everything)
    assert everything.height > a_day_later.height > at_the_end.height
    assert_frame_equal(a_day_later.join(at_the_end, on="TRANSACTION_ID", how="semi"), at_the_end)
    missing = everything.join(at_the_end, on="TRANSACTION_ID", how="anti")
    assert missing.filter(time >= START + 28 * DAY).height > 0.7 * missing.height


def test_late_payments_arrive_a_day_later_on_average() -> None:
    noon_of_the_next_day = START + 1.5 * DAY
    arrived = transactions(START, START + DAY, late=1.0, as_of=noon_of_the_next_day)
    assert 1 - arrived.height / transactions(START, START + DAY).height == pytest.approx(0.376, abs=0.02)


def test_without_late_payments_as_of_cuts_at_the_moment() -> None:
    everything = small()
    moment = everything["TX_DATETIME"][1_000]
    assert_frame_equal(small(as_of=moment), everything.filter(time <= moment))


@pytest.mark.parametrize("drift_from", [datetime(2018, 4, 4), date(2018, 4, 4), "2018-04-04"])
def test_drift_scales_the_amounts_from_its_day_on(drift_from: date | str) -> None:
    steady = small()
    scaled = pl.when(time >= datetime(2018, 4, 4)).then((amount * 1.5).round(2)).otherwise(amount)
    assert_frame_equal(small(drift_from=drift_from, drift=1.5), steady.with_columns(TX_AMOUNT=scaled))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"start": START + DAY / 2}, "start is 2018-04-01 12:00:00, give a midnight: days are made as a whole."),
        ({"end": START + DAY / 2}, "end is 2018-04-01 12:00:00, give a midnight: days are made as a whole."),
        ({"end": START}, "end is 2018-04-01 00:00:00, give a day after start, 2018-04-01 00:00:00."),
        ({"as_of": "2018-04-01T12:00:00Z"}, "as_of is 2018-04-01T12:00:00Z, give it without a time zone."),
        ({"as_of": "noon"}, "as_of is 'noon', give a date like 2018-04-01."),
        (
            {"drift_from": "2018-04-01T12:00"},
            "drift_from is 2018-04-01T12:00, give a midnight: days are made as a whole.",
        ),
        ({"customers": 2}, "customers is 2, give 3 or more."),
        ({"terminals": 1}, "terminals is 1, give 2 or more."),
        ({"seed": -1}, "seed is -1, give 0 or more."),
        ({"dirty": 1.5}, "dirty is 1.5, give a share between 0 and 1."),
        ({"late": -0.1}, "late is -0.1, give a share between 0 and 1."),
        ({"late": 0.1}, "late is 0.1 without as_of, give the moment of delivery as as_of."),
        ({"drift": float("nan"), "drift_from": START}, "drift is nan, give a factor above 0."),
        ({"drift": 2.0}, "drift is 2.0 without drift_from, give its first day as drift_from."),
    ],
)
def test_a_wrong_argument_is_refused_with_a_sentence(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 the sentence is compared as a whole
        transactions(**{"start": START, "end": START + DAY} | arguments)
    assert str(refusal.value) == f"card payment simulator: {sentence}"
