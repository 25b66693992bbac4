"""What gives the label away is named with its evidence, and what does not is not named."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from ml_platform.onboarding.dangers import Danger, clocks, known_later, useless
from ml_platform.onboarding.oddities import odd_values, over_time, repeats, thin_classes
from ml_platform.onboarding.schedule import Schedule, choose_schedule
from ml_platform.use_case import UseCase

ROWS = 4000
START = datetime(2024, 1, 1)


def flights() -> pl.DataFrame:
    """Flights as they are: cancelled ones have no times, and a departure's delay nearly is an arrival's."""
    rng = np.random.default_rng(0)
    hour = rng.integers(5, 23, ROWS)
    departure = rng.normal(hour, 30)
    arrival = departure + rng.normal(0, 10, ROWS)
    cancelled = pl.Series(rng.random(ROWS) < 0.04)
    rows = pl.DataFrame(
        {
            "id": np.arange(ROWS),
            "at": [START + timedelta(hours=int(row)) for row in range(ROWS)],
            "hour": hour,
            "tail": rng.choice(["N1", "N2", "N3"], ROWS),
            "departure": departure,
            "in_air": rng.normal(100, 10, ROWS),
            "arrival": arrival,
        }
    )
    gone = pl.when(~cancelled)
    unknown_tail = pl.Series(rng.random(ROWS) < 0.3)
    return rows.with_columns(
        *(gone.then(pl.col(name)).alias(name) for name in ("departure", "in_air", "arrival")),
        pl.when(~(cancelled & unknown_tail)).then("tail").alias("tail"),
    )


def drafted(rows: pl.DataFrame, label: str, task: str = "binary_classification", **contract: Any) -> UseCase:
    kinds = {name: "datetime" if dtype.is_temporal() else "float64" for name, dtype in rows.schema.items()}
    return UseCase.model_validate(
        {
            "name": "x",
            "task": task,
            "source": {"type": "files", "path": "x.csv", "format": "csv"},
            "partitions": "none",
            "contract": {"key": ["id"], "columns": {name: {"type": kind} for name, kind in kinds.items()}, **contract},
            "label": {"column": label},
            "model": {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier"},
            "registry": {"name": "x"},
        }
    )


def evidence(found: list[Danger]) -> dict[str, str]:
    assert all(one.leaves_out for one in found)
    return {one.column: one.evidence for one in found}


def test_what_is_only_known_after_the_landing_is_named_and_nothing_else() -> None:
    raw = flights()
    rows = raw.with_columns((pl.col("arrival") >= 30).cast(pl.Int64))
    names = ["hour", "tail", "departure", "in_air"]
    found = evidence(known_later(drafted(rows, "arrival"), rows, names, raw["arrival"], "arrival >= 30"))
    assert set(found) == {"departure", "in_air"}
    assert found["departure"].startswith("alone tells arrival >= 30 with a ROC AUC of 0.9")
    assert found["in_air"].startswith("is missing where arrival is: in 1")


def churn(**columns: Any) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    calls = rng.poisson(3, ROWS)
    churned = (rng.random(ROWS) < 1 / (1 + np.exp(3 - calls))).astype(int)
    fair = {"income": rng.lognormal(10, 1, ROWS), "kind": rng.choice(["a", "b", "c"], ROWS)}
    at = [START + timedelta(hours=int(row)) for row in range(ROWS)]
    rows = pl.DataFrame({"id": np.arange(ROWS), "at": at, "calls": calls, **fair, "churn": churned})
    return rows.with_columns(**columns)


CHURNED = pl.col("churn") == 1


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (pl.col("churn") * 7, "has 2 values, and each goes with one churn only"),
        (
            pl.when(CHURNED & (pl.col("id") % 10 > 0)).then(pl.lit("why")),
            "of the rows with churn 1 and for 0% of those with 0",
        ),
        (pl.col("churn") * 9 + pl.col("income").log(), "alone tells churn with a ROC AUC"),
        (pl.col("at") + pl.duration(days=3), "lies after at in 100.0% of the rows"),
    ],
)
def test_each_kind_of_leak_is_named_by_its_evidence_and_the_fair_columns_are_not(column: pl.Expr, told: str) -> None:
    rows = churn(leak=column)
    names = ["calls", "income", "kind", "leak"]
    found = evidence(known_later(drafted(rows, "churn", event_time="at"), rows, names, rows["churn"], "churn"))
    assert list(found) == ["leak"]
    assert told in found["leak"]


def test_two_columns_that_together_decide_the_label_are_both_named() -> None:
    rng = np.random.default_rng(2)
    one = rng.integers(0, 2, ROWS)
    rows = churn().with_columns(one=pl.Series(one), other=pl.Series(one) != pl.col("churn"))
    found = evidence(known_later(drafted(rows, "churn"), rows, ["calls", "one", "other"], rows["churn"], "churn"))
    assert found == dict.fromkeys(("one", "other"), "one and other together decide churn")


def test_a_scaled_copy_of_a_number_to_predict_is_named() -> None:
    rows = churn().with_columns(price=pl.col("income") * 2 + pl.col("calls"), net=pl.col("income") * 1.6 - 5)
    use_case = drafted(rows, "income", "regression")
    found = evidence(known_later(use_case, rows, ["calls", "kind", "net", "price"], rows["income"], "income"))
    assert set(found) == {"net", "price"}


def test_constants_identifiers_and_clocks_teach_nothing() -> None:
    rows = churn(one=pl.lit(1), text=pl.format("c{}", "id"), said=pl.format("number {} was said", "id"))
    assert evidence(list(useless(rows, ["one", "text", "said", "calls", "kind"]))) == {
        "one": "is '1' in every row that has a value",
        "text": "is an identifier: 4,000 values in 4,000 rows",
    }
    counted = rows.with_columns(day=pl.col("id") // 100).sample(fraction=1.0, shuffle=True, seed=0)
    assert list(evidence(list(clocks(counted, ["day", "calls"], "at")))) == ["day"]


def test_values_that_cannot_be_read_or_lie_far_away_are_told() -> None:
    typed = pl.DataFrame({"age": [*range(20, 60), None, -999], "kind": ["a", "A"] * 21})
    raw = typed.with_columns(pl.col("age").cast(pl.String).fill_null("old"))
    found = {(one.column, one.evidence) for one in odd_values(raw, typed)}
    assert found == {
        ("age", "has 1 values that are no number: 'old'"),
        ("age", "is -999 in 1 rows, all others lie between 20 and 59"),
        ("kind", "has 'a' and 'A', which differ in case or spaces only"),
    }


@pytest.mark.parametrize("unit", [1, 1000])
def test_seconds_since_1970_are_told(unit: int) -> None:
    rows = pl.DataFrame({"ts": [(1_577_836_800 + 3600 * row) * unit for row in range(100)], "id": range(100)})
    assert [(one.column, one.evidence) for one in odd_values(rows, rows)] == [
        ("ts", "looks like seconds since 1970, from 2020-01-01 to 2020-01-05")
    ]


def test_rows_that_differ_in_the_key_only_and_thin_classes_are_told() -> None:
    rows = pl.DataFrame({"id": range(1000), "x": [0, *range(999)]})
    (twins,) = repeats(rows.with_columns(x=pl.col("x") // 2), ["id"], 0)
    assert "differ from another in the key only" in twins.evidence
    assert list(repeats(rows, ["id"], 0)) == []
    (thin,) = thin_classes(pl.Series("kind", ["a"] * 100 + ["b"] * 8), "multiclass_classification")
    assert thin.evidence.startswith("is b in 8 rows only")


def test_drift_a_thin_first_period_and_columns_that_begin_later_are_told() -> None:
    days = [day for day in range(366) for _ in range(2 if day < 31 else 20)]
    at = pl.Series("at", [START + timedelta(days=day) for day in days])
    late = pl.Series(days) >= 280
    labels = pl.Series("churn", np.random.default_rng(0).random(len(days)) < np.where(late, 0.4, 0.1))
    rows = pl.DataFrame({"at": at, "new": pl.select(pl.when(pl.Series(days) >= 31).then(1)).to_series(), "old": 1})
    schedule = choose_schedule(at, "month", daily_files=False)
    assert isinstance(schedule, Schedule)
    told = [f"{one.column} {one.evidence}" for one in over_time(rows, labels, at, schedule, ["new", "old"])]
    assert told[0].startswith("churn is 0.1")
    assert told[1:] == [
        "all rows the first month, from 2024-01-01, has 62 rows; usual are 610",
        "new is missing in 100% of the rows of the first month, later in 0%",
    ]


def test_a_number_that_explains_most_of_another_is_no_leak() -> None:
    rng = np.random.default_rng(3)
    rooms = rng.integers(1, 9, ROWS)
    rows = churn().with_columns(rooms=pl.Series(rooms), price=pl.Series(rooms * 10 + rng.normal(0, 5, ROWS)))
    names = ["calls", "income", "kind", "rooms"]
    assert known_later(drafted(rows, "price", "regression"), rows, names, rows["price"], "price") == []
