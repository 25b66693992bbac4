"""Folds inside the training rows: ordered in time with the label delay between, or by a hash of the key."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from ml_platform.ml.folds import folds_of
from ml_platform.ml.splits import held_out_by_key
from ml_platform.use_case import UseCase
from ml_platform_tests.examples import use_case

START = datetime(2024, 1, 1)


def case(known_after: str = "1 day", **more: Any) -> UseCase:
    return use_case(task="regression", label={"known_after": known_after}, **more)


def table(hours: list[int], fraud: list[Any] | None = None) -> pl.DataFrame:
    at = [START + timedelta(hours=hour) for hour in hours]
    return pl.DataFrame(
        {"id": range(len(at)), "at": at, "fraud": fraud or [0] * len(at)}, schema_overrides={"at": pl.Datetime("us")}
    )


@settings(deadline=None)
@given(st.lists(st.integers(0, 1_000), min_size=2, max_size=200), st.integers(1, 5), st.integers(0, 10))
def test_each_block_comes_after_the_one_before_and_a_label_delay_after_what_is_learned(
    hours: list[int], number: int, days: int
) -> None:
    try:
        folds = folds_of(case(f"{days} days"), rows := table(hours), number)
    except ValueError:
        reject()
    assert len(folds) == number
    for fold in folds:
        first = fold.judged["at"].min()
        assert fold.train.height == (rows["at"] < first - timedelta(days=days)).sum() > 0  # type: ignore[operator]
    for earlier, later in pairwise(folds):
        assert earlier.judged["at"].max() < later.judged["at"].min()  # type: ignore[operator]
    judged = pl.concat([fold.judged for fold in folds])["id"]
    assert judged.is_unique().all()
    assert judged.len() >= rows.height // 2
    assert (rows["at"] >= folds[0].judged["at"].min()).sum() == judged.len()


def test_the_later_half_is_cut_into_blocks_of_as_many_rows() -> None:
    folds = folds_of(case("10 hours"), table([*range(60)]), 3)
    assert [fold.judged["id"].to_list() for fold in folds] == [[*range(n, n + 10)] for n in (30, 40, 50)]
    assert [fold.train["id"].to_list() for fold in folds] == [[*range(n)] for n in (20, 30, 40)]


@pytest.mark.parametrize("entity", [None, "city"])
@pytest.mark.parametrize("number", [1, 2, 5])
def test_without_partitions_each_fold_judges_a_part_of_the_keys_or_entities(entity: str | None, number: int) -> None:
    of = case(partitions="none", contract={"entity": entity})
    rows = table([0] * 6_000).with_columns(city=(pl.col("id") // 2).cast(pl.String))
    left = rows.filter(~held_out_by_key(rows, [entity or "id"], of.model.hold_out_share))
    folds = folds_of(of, left, number)
    for fold in folds:
        assert fold.judged.height / left.height == pytest.approx(1 / max(number, 2), abs=0.03)
        assert not {*fold.judged[entity or "id"]} & {*fold.train[entity or "id"]}
        assert sorted([*fold.judged["id"], *fold.train["id"]]) == left["id"].to_list()
    judged = pl.concat([fold.judged for fold in folds])["id"]
    assert judged.is_unique().all()
    assert number == 1 or judged.len() == left.height


@pytest.mark.parametrize(
    ("task", "rows", "sentence"),
    [
        ("regression", table([0, 1]), "2 training rows are too few for 2 folds; use a longer train_on"),
        ("regression", table([0] * 20 + [30] * 20), "fold 1 of 2 (from 2024-01-02 06:00) has no rows to judge on;"),
        ("regression", table([*range(20)]), "fold 1 of 2 (from 2024-01-01 10:00) has no rows to train on that are one"),
        ("binary_classification", table([*range(0, 800, 20)]), "has only rows of class 0.0 to train on;"),
        (
            "binary_classification",
            table([*range(0, 800, 20)], [0, 1] * 15 + [0] * 10),
            "fold 2 of 2 (from 2024-01-26 00:00) has only rows of class 0 to judge on; use more training rows, or",
        ),
        (
            "multiclass_classification",
            table([*range(0, 800, 20)], ["a", "b"] * 10 + ["c"] * 20),
            "fold 1 of 2 (from 2024-01-17 16:00) has the class 'c' to judge on and not to train on;",
        ),
    ],
)
def test_a_fold_that_lacks_rows_or_a_class_is_refused(task: str, rows: pl.DataFrame, sentence: str) -> None:
    with pytest.raises(ValueError, match="fold") as refusal:
        folds_of(use_case(task=task), rows, 2)
    assert sentence in str(refusal.value)
