"""Tables of the lake: what is replaced, what stays, what a reader sees, and sentences for what cannot be done."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ml_platform.resources.lake import Lake, Table

DAYS = [date(2024, 1, day) for day in range(1, 8)]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Lake(root=str(tmp_path)).table(dg.AssetKey(["shop", "sales"]))


def sales(*days: date, amount: float = 1.0) -> pl.DataFrame:
    return pl.DataFrame(
        {"id": range(len(days)), "amount": amount, "partition": days}, schema_overrides={"id": pl.Int64}
    )


def amounts(table: Table) -> dict[date, float]:
    return dict(table.scan().select("partition", "amount").collect().iter_rows())


@pytest.mark.parametrize(
    ("root", "address"),
    [
        ("/data/lake", "/data/lake/shop/sales"),
        ("/data/lake/", "/data/lake/shop/sales"),
        ("lake", "lake/shop/sales"),
        ("s3://bucket/lake", "s3://bucket/lake/shop/sales"),
        ("s3://bucket/lake/", "s3://bucket/lake/shop/sales"),
        ("abfss://container@account/", "abfss://container@account/shop/sales"),
    ],
)
def test_an_asset_lies_below_the_root(root: str, address: str) -> None:
    assert Lake(root=root).address(dg.AssetKey(["shop", "sales"])) == address


def test_a_table_gets_the_options_of_the_lake() -> None:
    lake = Lake(root="s3://bucket", storage_options={"AWS_REGION": "eu-central-1"})
    assert lake.table(dg.AssetKey("sales")) == Table("s3://bucket/sales", {"AWS_REGION": "eu-central-1"})


def test_a_table_that_was_never_written_is_not_there(table: Table) -> None:
    assert not table.exists()
    assert table.partitions() == []
    with pytest.raises(
        FileNotFoundError, match=rf"^nothing was ever written to {table.address}; materialize the asset"
    ):
        table.scan()


def test_each_overwrite_is_one_commit(table: Table) -> None:
    assert [table.overwrite(sales(*DAYS[:number]), DAYS[:number]) for number in (1, 3, 2)] == [0, 1, 2]
    assert table.version() == 2


def test_partitions_are_those_that_hold_rows_in_order(table: Table) -> None:
    table.overwrite(sales(DAYS[4], DAYS[1]), DAYS)
    assert table.partitions() == [DAYS[1], DAYS[4]]
    table.overwrite(sales(DAYS[0]), [DAYS[0], DAYS[4]])
    assert table.partitions() == [DAYS[0], DAYS[1]]


def test_only_the_partitions_named_are_replaced(table: Table) -> None:
    table.overwrite(sales(*DAYS[:4]), DAYS[:4])
    table.overwrite(sales(DAYS[1], amount=2.0), [DAYS[1], DAYS[3]])
    assert amounts(table) == {DAYS[0]: 1.0, DAYS[1]: 2.0, DAYS[2]: 1.0}


def test_a_table_may_begin_without_rows(table: Table) -> None:
    table.overwrite(sales(DAYS[0]).clear(), [DAYS[0]])
    assert table.exists()
    assert table.partitions() == []
    assert table.scan().collect_schema() == sales(DAYS[0]).schema


@pytest.mark.parametrize(
    "wanted", [[DAYS[2]], DAYS[1:4], [DAYS[4], DAYS[0], DAYS[2]], [DAYS[0], DAYS[6]], [date(2030, 1, 1)], []]
)
def test_a_scan_gives_the_wanted_partitions_and_no_other(table: Table, wanted: list[date]) -> None:
    table.overwrite(sales(*DAYS[:5]), DAYS[:5])
    found = table.scan(wanted).collect()
    assert sorted(found["partition"]) == sorted(set(wanted) & set(DAYS[:5]))
    assert found.columns == ["id", "amount", "partition"]


def test_a_scan_without_partitions_gives_all(table: Table) -> None:
    table.overwrite(sales(*DAYS[:5]), DAYS[:5])
    assert_frame_equal(table.scan().collect(), sales(*DAYS[:5]), check_row_order=False)


def test_a_new_column_is_added_and_missing_in_the_rows_before(table: Table) -> None:
    table.overwrite(sales(*DAYS[:2]), DAYS[:2])
    table.overwrite(sales(DAYS[1]).with_columns(shop=pl.lit("north")), [DAYS[1]])
    found = table.scan().collect()
    assert dict(found.select("partition", "shop").iter_rows()) == {DAYS[0]: None, DAYS[1]: "north"}


def test_a_column_that_is_not_given_is_missing_in_the_new_rows_only(table: Table) -> None:
    table.overwrite(sales(*DAYS[:2]), DAYS[:2])
    table.overwrite(sales(DAYS[1]).drop("amount"), [DAYS[1]])
    assert amounts(table) == {DAYS[0]: 1.0, DAYS[1]: None}


def test_a_table_without_partitions_is_replaced_with_its_columns(table: Table) -> None:
    table.overwrite(pl.DataFrame({"id": [1, 2], "size": [1.5, 2.5]}), None)
    table.overwrite(pl.DataFrame({"id": ["a"], "colour": ["red"]}), None)
    assert_frame_equal(table.scan().collect(), pl.DataFrame({"id": ["a"], "colour": ["red"]}))
    assert table.version() == 1


def test_rows_of_a_partition_that_is_not_named_are_refused(table: Table) -> None:
    table.overwrite(sales(*DAYS[:3]), DAYS[:3])
    message = r"^rows of 2024-01-02 among those of 2024-01-01\.\.2024-01-03; nothing was written\.$"
    with pytest.raises(ValueError, match=message):
        table.overwrite(sales(*DAYS[:3], amount=2.0), [DAYS[0], DAYS[2]])
    assert table.version() == 0
    assert set(amounts(table).values()) == {1.0}


def test_rows_of_no_partition_among_strays_are_refused_in_words(table: Table) -> None:
    rows = sales(*DAYS[:3]).with_columns(partition=pl.Series([DAYS[0], DAYS[2], None]))
    with pytest.raises(ValueError, match="nothing was written"):
        table.overwrite(rows, [DAYS[0]])


@pytest.mark.parametrize("first_day", ["2024-01-01", datetime(2024, 1, 1)])
def test_partitions_of_another_type_are_refused_by_their_type(table: Table, first_day: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="Date"):
        table.overwrite(sales(DAYS[0]).with_columns(partition=pl.lit(first_day)), [DAYS[0]])


@pytest.mark.parametrize("folder", ["My Projects", "josé", "50%"])
def test_the_lake_may_lie_in_any_folder(tmp_path: Path, folder: str) -> None:
    table = Lake(root=str(tmp_path / folder)).table(dg.AssetKey("sales"))
    table.overwrite(sales(DAYS[0]), [DAYS[0]])
    assert_frame_equal(table.scan([DAYS[0]]).collect(), sales(DAYS[0]))
