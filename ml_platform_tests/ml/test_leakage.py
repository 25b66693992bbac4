"""Planted leaks are caught, and of clean tables nothing is said."""

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets

from ml_platform.defs.card_fraud.features import build
from ml_platform.defs.card_fraud.simulator import transactions
from ml_platform.ml.leakage import Leak, leaks_in, reaches_ahead, shared_between, told
from ml_platform.use_case import Task, UseCase
from ml_platform_tests.examples import use_case

BINARY: Task = "binary_classification"
MULTICLASS: Task = "multiclass_classification"
REGRESSION: Task = "regression"
TASKS: list[Task] = [BINARY, MULTICLASS, REGRESSION]

seeds = st.integers(0, 2**32 - 1)
tasks = st.sampled_from(TASKS)


def case(task: Task = BINARY, label: str = "y", key: str = "id", **changes: Any) -> UseCase:
    """A use case whose rows have a key, a label and features."""
    columns = {"fraud": None, key: {"type": "int64"}, label: {"type": "float64"}}
    contract = {"key": [key], "event_time": None, "columns": columns, **changes.pop("contract", {})}
    return use_case(task=task, partitions="none", contract=contract, label={"column": label}, **changes)


def table(task: Task, rows: int, seed: int) -> pl.DataFrame:
    """Features of every kind, some of them missing, and a label that chance alone decides."""
    rng = np.random.default_rng(seed)
    y = {
        BINARY: rng.permutation(np.arange(rows) < max(10, rows // 5)).astype(np.int64),
        MULTICLASS: rng.permutation(np.arange(rows) % 3),
        REGRESSION: rng.lognormal(size=rows),
    }[task]
    missing = rng.random(rows) < 0.2
    return pl.DataFrame(
        {
            "id": np.arange(rows),
            "amount": rng.normal(size=rows),
            "rest": np.where(missing, np.nan, rng.lognormal(size=rows)),
            "number": rng.permutation(rows) + 1_000,
            "name": [f"P-{one:06d}" for one in rng.permutation(rows)],
            "count": rng.poisson(2, size=rows),
            "city": [None if gone else city for gone, city in zip(missing, rng.choice(list("abc"), rows), strict=True)],
            "flag": rng.random(rows) < 0.5,
            "y": y,
        }
    )


def with_feature(rows: pl.DataFrame, values: Any) -> pl.DataFrame:
    return rows.with_columns(pl.Series("leak", values, strict=False))


def kinds(leaks: list[Leak]) -> list[tuple[str, str]]:
    return [(leak.feature, leak.kind) for leak in leaks]


@pytest.fixture(scope="module")
def payments() -> pl.DataFrame:
    return transactions(datetime(2018, 4, 1), datetime(2018, 4, 15), customers=1_000)


def test_nothing_is_said_of_card_payments_but_that_their_scenario_copies_the_label(payments: pl.DataFrame) -> None:
    fraud, rows = case(label="TX_FRAUD", key="TRANSACTION_ID"), build(payments).drop("TX_DATETIME")
    ids = payments.select("CUSTOMER_ID", "TERMINAL_ID", seconds=pl.col("TX_DATETIME").dt.epoch("s"))
    assert leaks_in(fraud, rows.hstack(ids)) == []
    scenario = rows.hstack(payments.select("TX_FRAUD_SCENARIO"))
    assert kinds(leaks_in(fraud, scenario)) == [("TX_FRAUD_SCENARIO", "copy of the label")]


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("breast_cancer", BINARY),
        ("wine", MULTICLASS),
        ("iris", MULTICLASS),
        ("digits", MULTICLASS),
        ("diabetes", REGRESSION),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 275])  # with the last a feature of iris reaches 0.9915, by chance
def test_nothing_is_said_of_real_tables(name: str, task: Task, seed: int) -> None:
    bunch = getattr(datasets, f"load_{name}")()
    rows = pl.DataFrame(bunch.data, schema=[str(one) for one in bunch.feature_names]).with_columns(y=bunch.target)
    assert leaks_in(case(task, model={"seed": seed}), rows) == []


# the same examples in every run: among many thousands of tables chance does make a leak
@settings(deadline=None, derandomize=True)
@given(tasks, st.integers(30, 400), seeds)
def test_nothing_is_said_where_chance_decides_the_label(task: Task, rows: int, seed: int) -> None:
    assert leaks_in(case(task, model={"seed": seed}), table(task, rows, seed)) == []


@settings(deadline=None)
@given(st.sampled_from([BINARY, MULTICLASS]), st.integers(30, 400), seeds, st.randoms(use_true_random=False))
def test_a_copy_of_the_label_is_told_under_any_other_names(task: Task, rows: int, seed: int, random: Any) -> None:
    clean = table(task, rows, seed)
    names = random.choice([["north", "south", None], [7.5, -1.0, float("nan")], [30, 10, 20], [True, False, None]])
    random.shuffle(names)
    leaks = leaks_in(case(task), with_feature(clean, [names[one] for one in clean["y"]]))
    assert kinds(leaks) == [("leak", "copy of the label")]


@settings(deadline=None)
@given(st.integers(30, 400), seeds, st.sampled_from([np.log, np.negative, np.exp, np.reciprocal]))
def test_a_feature_in_the_order_of_the_label_is_told(rows: int, seed: int, function: Any) -> None:
    clean = table(REGRESSION, rows, seed)
    leaks = leaks_in(case(REGRESSION), with_feature(clean, function(clean["y"].to_numpy())))
    assert kinds(leaks) == [("leak", "copy of the label")]


@pytest.mark.parametrize(
    ("task", "rows"), [(BINARY, 200), (BINARY, 5_000), (MULTICLASS, 200), (MULTICLASS, 5_000), (REGRESSION, 5_000)]
)
def test_a_feature_that_alone_tells_the_label_is_told(task: Task, rows: int) -> None:
    rng, clean = np.random.default_rng(1), table(task, rows, 1)
    if task == REGRESSION:
        clean = clean.with_columns(y=rng.normal(size=rows))
    close = clean["y"].to_numpy() + rng.normal(scale=0.05, size=rows)
    (leak,) = leaks_in(case(task), with_feature(clean, close))
    assert (leak.feature, leak.kind) == ("leak", "tells the label alone")
    assert leaks_in(case(task, model={"leakage": {"allowed": ["leak"]}}), with_feature(clean, close)) == []


def test_how_well_a_feature_may_tell_the_label_is_for_the_user_to_say() -> None:
    clean = table(BINARY, 5_000, 1)
    fair = with_feature(clean, clean["y"].to_numpy() + np.random.default_rng(2).normal(scale=0.5, size=5_000))
    assert leaks_in(case(), fair) == []
    (leak,) = leaks_in(case(model={"leakage": {"alone_at_most": 0.9}}), fair)
    assert leak.evidence.startswith("alone tells y with a ROC AUC of 0.9")


def test_only_the_features_that_the_model_sees_are_looked_at() -> None:
    rows = with_feature(table(BINARY, 200, 1), table(BINARY, 200, 1)["y"])
    assert leaks_in(case(features={"columns": ["amount"]}), rows) == []


def test_text_of_many_values_that_tells_the_label_is_told() -> None:
    clean = table(BINARY, 5_000, 1)
    towns = [f"{'east' if y else 'west'} {row % 40}" for row, y in enumerate(clean["y"])]
    late = with_feature(clean, [town if row % 200 else "unknown" for row, town in enumerate(towns)])
    assert kinds(leaks_in(case(), late)) == [("leak", "tells the label alone")]


@pytest.mark.parametrize("towns", [40, 300, 450])
def test_text_of_many_values_that_each_go_with_one_label_is_told(towns: int) -> None:
    clean = table(BINARY, 5_000, 1)
    town = [f"town {row % (towns // 2) * 2 + y}" for row, y in enumerate(clean["y"])]
    kind = "copy of the label" if towns == 40 else "tells the label alone"
    assert kinds(leaks_in(case(), with_feature(clean, town))) == [("leak", kind)]


def test_a_copy_of_the_label_is_told_where_half_of_it_is_missing() -> None:
    clean = table(BINARY, 400, 1)
    half = with_feature(clean, [y if row % 2 else None for row, y in enumerate(clean["y"])])
    (leak,) = leaks_in(case(), half)
    assert str(leak) == "leak has 2 values, and each goes with one y only"


def test_a_few_rows_that_go_with_the_label_may_be_chance() -> None:
    clean = table(BINARY, 400, 1).sort("y")
    few = with_feature(clean, [y if row < 5 or row >= 395 else None for row, y in enumerate(clean["y"])])
    assert leaks_in(case(), few) == []


@pytest.mark.parametrize(
    ("filled_where", "evidence"),
    [
        (1, "is filled in almost only where y is 1 (100.0% of those rows, 0.1% of the others)"),
        (0, "is filled in almost only where y is 0 (100.0% of those rows, 0.2% of the others)"),
    ],
)
def test_a_column_filled_in_only_afterwards_is_told(filled_where: int, evidence: str) -> None:
    clean = table(BINARY, 2_000, 3)
    one_more = clean["y"].ne(filled_where).arg_max()
    agents = [f"agent {row % 7}" if y == filled_where or row == one_more else None for row, y in enumerate(clean["y"])]
    assert leaks_in(case(), with_feature(clean, agents)) == [Leak("leak", "missing where the label says", evidence)]


def test_a_number_filled_in_where_the_label_is_high_is_told() -> None:
    clean = table(REGRESSION, 2_000, 3).with_columns(y=pl.Series(np.repeat([1.0, 9.0], 1_000)) + pl.col("amount") / 9)
    leaks = leaks_in(
        case(REGRESSION, model={"leakage": {"alone_at_most": 0.9}}),
        clean.with_columns(leak=pl.when(pl.col("y") > 5).then(pl.col("rest").fill_nan(0.0))),
    )
    assert ("leak", "missing where the label says") in kinds(leaks)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("text", [False, True])
def test_an_id_that_goes_with_the_label_is_told(task: Task, text: bool) -> None:
    clean = table(task, 1_000, 4)
    near = clean["y"].rank("ordinal").to_numpy() + np.random.default_rng(4).normal(scale=300, size=1_000)
    numbers = 10 * np.argsort(np.argsort(near))
    leaks = leaks_in(case(task), with_feature(clean, [f"P-{one:05d}" for one in numbers] if text else numbers))
    assert kinds(leaks) == [("leak", "id that tells the label")]


def test_an_amount_is_no_id_however_different_its_values() -> None:
    clean = table(BINARY, 1_000, 4)
    cents = (np.exp(np.random.default_rng(4).normal(10 + clean["y"].to_numpy(), 1))).astype(np.int64)
    assert len(set(cents)) > 950
    assert leaks_in(case(), with_feature(clean, cents)) == []


def test_of_a_class_of_few_rows_nothing_is_said() -> None:
    few = pl.DataFrame({"id": range(500), "y": [1] * 9 + [0] * 491, "leak": [1] * 9 + [0] * 491})
    assert leaks_in(case(), few) == []
    assert leaks_in(case(), few.with_columns(y=1, leak=1)) == []
    assert leaks_in(case(REGRESSION), few.head(19).with_columns(y=pl.col("id"), leak=pl.col("id"))) == []
    rare = table(MULTICLASS, 300, 1).with_columns(y=pl.when(pl.col("id") < 3).then(9).otherwise("y"))
    assert kinds(leaks_in(case(MULTICLASS), with_feature(rare, rare["y"]))) == [("leak", "copy of the label")]


def test_what_leaks_is_told_in_a_sentence_with_what_to_do() -> None:
    leaks = [
        Leak("scenario", "copy of the label", "has 4 values"),
        Leak("agent", "missing where the label says", "is filled in"),
        Leak("mean", "computed from rows after the event", "differs"),
    ]
    assert told(leaks) == (
        "scenario has 4 values, agent is filled in: leave the feature out with features.columns, mend the transform, "
        "or, if it really is known before the label, name it in model.leakage.allowed; "
        "mean differs: let the transform look only at rows up to each row's own time."
    )


def halves(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    return rows.head(300), rows.tail(rows.height - 300)


def test_of_rows_that_share_nothing_nothing_is_said() -> None:
    assert shared_between(case(), *halves(table(BINARY, 400, 1))) == []


def test_keys_in_both_are_told() -> None:
    train, hold_out = halves(table(BINARY, 400, 1))
    (leak,) = shared_between(case(), train, hold_out.with_columns(id=pl.col("id") - 98))
    assert str(leak) == "id names 98 of 100 rows to judge on are rows to train on too, such as id 202"


def test_a_key_at_another_time_is_another_row() -> None:
    columns = {"id": {"type": "int64"}, "at": {"type": "datetime"}, "y": {"type": "float64"}, "fraud": None}
    timed = use_case(contract={"columns": columns}, label={"column": "y"})
    train, hold_out = halves(
        table(BINARY, 400, 1).with_columns(id=1, at=pl.datetime(2024, 1, 1) + pl.duration(hours="id"))
    )
    assert shared_between(timed, train, hold_out) == []
    assert kinds(shared_between(timed, train, train.head(1))) == [
        ("id, at", "rows in both"),
        ("the hold-out", "twins in both"),
    ]


def test_entities_in_both_are_told_without_partitions() -> None:
    columns = {"id": {"type": "int64"}, "customer": {"type": "int64"}, "y": {"type": "float64"}, "fraud": None}
    changes: Any = {"contract": {"columns": columns, "entity": "customer"}, "label": {"column": "y"}}
    train, hold_out = halves(
        table(BINARY, 400, 1).with_columns(customer=pl.col("id") // 40, at=pl.lit(datetime(2024, 1, 1)))
    )
    (leak,) = shared_between(use_case(partitions="none", **changes), train, hold_out)
    assert str(leak) == "customer names 1 of 3 entities to judge on are trained on too, such as customer 7"
    assert shared_between(use_case(**changes), train, hold_out) == []


def test_rows_to_judge_on_with_a_twin_in_training_are_told() -> None:
    train, hold_out = halves(table(BINARY, 400, 1))
    copied = train.head(100).with_columns(hold_out["id"])
    (leak,) = shared_between(case(), train, hold_out.head(80).vstack(copied.tail(20)))
    assert str(leak) == (
        "the hold-out has 20 of 100 rows (20%) to judge on with the features and the label of a row to train on, "
        "such as id 380"
    )
    assert shared_between(case(), train, hold_out.head(96).vstack(copied.tail(4))) == []
    other_label = copied.with_columns(y=1 - pl.col("y"))
    assert shared_between(case(), train, other_label) == []


@pytest.mark.parametrize(
    ("changes", "contract", "remedy"),
    [
        ({"partitions": "none"}, {}, ", or name what they belong to in contract.entity."),
        ({"partitions": "none"}, {"entity": "customer"}, "."),
        ({}, {}, "."),
    ],
)
def test_an_entity_is_advised_against_twins_only_where_it_would_hold_them_out_together(
    changes: dict[str, Any], contract: dict[str, Any], remedy: str
) -> None:
    columns = {"id": {"type": "int64"}, "customer": {"type": "int64"}, "y": {"type": "float64"}, "fraud": None}
    of = use_case(**changes, contract={"columns": columns, **contract}, label={"column": "y"})
    train, hold_out = halves(table(BINARY, 400, 1).with_columns(at=pl.lit(datetime(2024, 1, 1))))
    said = told(shared_between(of, train, train.head(100).with_columns(hold_out["id"])))
    assert said.rpartition(": ")[2] == f"remove the repeated rows at the source{remedy}"


def test_rows_of_few_values_are_alike_by_chance() -> None:
    coarse = table(BINARY, 400, 1).select("id", "flag", "count", "y")
    assert shared_between(case(), *halves(coarse)) == []


HOURS = pl.DataFrame(
    {
        "id": range(6),
        "amount": [1.0, 2.0, None, float("nan"), 5.0, float("inf")],
        "city": ["a", "b", None, "d", "e", "f"],
    }
)


def test_features_that_need_no_later_row_are_the_same_without_them() -> None:
    shuffled = HOURS.reverse().with_columns(pl.col("amount") * (1 + 1e-9))
    assert reaches_ahead(HOURS, shuffled.filter(pl.col("id") != 3), ["id"], ["amount", "city"]) == []


def test_features_of_later_rows_are_told_with_an_example() -> None:
    cut = HOURS.head(5).with_columns(
        amount=pl.Series([1.0, 2.5, None, 4.0, None]), city=pl.Series(["a", "b", "c", "d", "e"])
    )
    assert [str(leak) for leak in reaches_ahead(HOURS, cut, ["id"], ["amount", "city"])] == [
        "amount differs in 3 of 5 rows once later rows are left out (id 1: 2.0 with them, 2.5 without)",
        "city differs in 1 of 5 rows once later rows are left out (id 2: None with them, c without)",
    ]


@pytest.mark.parametrize(
    ("whole", "cut"),
    [([1, 2], [1, 3]), ([1.0, float("inf")], [1.0, 9.0]), ([1, 2], [1.0, 2.1]), ([True, None], [True, False])],
)
def test_values_of_every_kind_are_compared(whole: list[Any], cut: list[Any]) -> None:
    ours, theirs = (pl.DataFrame({"id": [1, 2], "x": values}) for values in (whole, cut))
    for one, other in ((ours, theirs), (theirs, ours)):
        assert kinds(reaches_ahead(one, other, ["id"], ["x"])) == [("x", "computed from rows after the event")]


def test_the_same_moment_in_another_unit_or_zone_is_no_other_one() -> None:
    moments = pl.Series("x", [datetime(2018, 4, 1, hour) for hour in range(2)] + [None], pl.Datetime("us"))
    there = pl.DataFrame({"id": [1, 2, 3], "x": moments})
    elsewhere = moments.dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin")
    for same in (moments.dt.cast_time_unit("ms"), moments.dt.cast_time_unit("ns"), elsewhere):
        assert reaches_ahead(there, there.with_columns(same), ["id"], ["x"]) == []
    days = pl.DataFrame({"id": [1, 2, 3], "x": moments.dt.date()})
    assert kinds(reaches_ahead(there, days, ["id"], ["x"])) == [("x", "computed from rows after the event")]
    assert reaches_ahead(days, days.with_columns(pl.col("x").cast(pl.Datetime("ms"))), ["id"], ["x"]) == []


def test_a_feature_that_later_rows_alone_bring_about_is_told() -> None:
    (leak,) = reaches_ahead(HOURS, HOURS.drop("city"), ["id"], ["amount", "city"])
    assert str(leak) == "city is no feature once later rows are left out"


def test_a_repeated_key_is_left_out() -> None:
    many = pl.DataFrame({"id": [0] * 50_000 + [1], "x": range(50_001)})
    (leak,) = reaches_ahead(many, many.with_columns(x=pl.col("x") + 1), ["id"], ["x"])
    assert leak.evidence.startswith("differs in 1 of 1 rows")
