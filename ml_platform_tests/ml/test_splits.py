"""Which rows a model learns from and is judged on: by time before a cutoff, or by a hash of the key."""

from datetime import datetime, timedelta
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_platform.ml.splits import Window, Windows, held_out_by_key, windows_before
from ml_platform_tests.examples import use_case

CUTOFF = datetime(2018, 8, 22)

days = st.integers(1, 400).map(lambda number: f"{number} days")


def before(cutoff: datetime, train_on: str, hold_out: str, known_after: str) -> Windows:
    case = use_case(model={"train_on": train_on, "hold_out": hold_out}, label={"known_after": known_after})
    return windows_before(cutoff, case.model, case.label)


def test_the_windows_of_the_documented_example() -> None:
    windows = before(CUTOFF, "7 days", "7 days", "7 days")
    assert str(windows.hold_out) == "2018-08-08..2018-08-14"
    assert str(windows.train) == "2018-07-25..2018-07-31"
    assert str(windows.known) == "2018-07-25..2018-08-14"


@settings(deadline=None)
@given(days, days, st.integers(0, 400))
def test_every_label_is_known_by_the_cutoff_and_no_row_is_in_two_windows(
    train_on: str, hold_out: str, delay: int
) -> None:
    windows = before(CUTOFF, train_on, hold_out, f"{delay} days")
    known_after = timedelta(days=delay)
    assert windows.hold_out.end + known_after == CUTOFF
    assert windows.train.end + known_after == windows.hold_out.start
    assert f"{(windows.train.end - windows.train.start).days} days" == train_on
    assert f"{(windows.hold_out.end - windows.hold_out.start).days} days" == hold_out
    assert windows.known == Window(windows.train.start, windows.hold_out.end)


def test_a_window_is_half_open() -> None:
    window = Window(datetime(2024, 1, 1), datetime(2024, 1, 2))
    times = [datetime(2023, 12, 31, 23, 59), window.start, datetime(2024, 1, 1, 23, 59), window.end, None]
    assert pl.DataFrame({"at": times}).filter(window.select("at"))["at"].to_list() == times[1:3]


def test_a_window_that_is_no_whole_day_is_told_with_its_times() -> None:
    window = Window(datetime(2024, 1, 1), datetime(2024, 1, 1, 12))
    assert str(window) == "2024-01-01 00:00..2024-01-01 12:00"


KEYS = st.lists(st.tuples(st.text(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=20, unique=True)


def keyed(rows: list[tuple[str, int]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"shop": pl.String, "id": pl.Int64}, orient="row")


@settings(deadline=None)
@given(KEYS, st.floats(0, 1), st.randoms(use_true_random=False))
def test_a_row_is_held_out_whatever_other_rows_are_there(
    rows: list[tuple[str, int]], share: float, random: Random
) -> None:
    together = dict(zip(rows, held_out_by_key(keyed(rows), ["shop", "id"], share), strict=True))
    some = random.sample(rows, random.randint(1, len(rows)))
    assert held_out_by_key(keyed(some), ["shop", "id"], share).to_list() == [together[row] for row in some]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.25, 0.9, 1.0])
def test_about_the_share_is_held_out(share: float) -> None:
    rows = pl.DataFrame({"id": range(20_000)})
    assert held_out_by_key(rows, ["id"], share).mean() == pytest.approx(share, abs=0.01)


def test_a_larger_share_holds_out_the_same_rows_and_more() -> None:
    rows = pl.DataFrame({"id": range(1_000)})
    small, large = (held_out_by_key(rows, ["id"], share) for share in (0.1, 0.3))
    assert (large | ~small).all()
    assert large.sum() > small.sum()


def test_the_rows_held_out_are_the_same_in_every_release() -> None:
    rows = pl.DataFrame({"id": range(20)})
    assert rows.filter(held_out_by_key(rows, ["id"], 0.25))["id"].to_list() == [8, 9, 13]


def test_the_parts_of_a_key_do_not_run_together() -> None:
    rows = pl.DataFrame({"a": [f"{index}" for index in range(200)], "b": ["x"] * 200})
    joined = rows.with_columns(a=pl.col("a") + "x", b=pl.lit(""))
    assert held_out_by_key(rows, ["a", "b"], 0.5).to_list() != held_out_by_key(joined, ["a", "b"], 0.5).to_list()


def test_of_no_rows_none_are_held_out() -> None:
    assert held_out_by_key(pl.DataFrame({"id": []}, schema={"id": pl.Int64}), ["id"], 0.25).dtype == pl.Boolean


def test_a_key_without_a_value_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="id"):
        held_out_by_key(pl.DataFrame({"id": [1, None]}), ["id"], 0.25)
