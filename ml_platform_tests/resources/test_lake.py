"""Tables of the lake: what is replaced, what stays, what a reader sees, and writers that do not lose each other."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from time import sleep
from typing import Any

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ml_platform.resources.lake import Lake, Table

DAYS = [date(2024, 1, day) for day in range(1, 8)]
BEFORE = date(2023, 12, 31)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Lake(root=str(tmp_path)).table(dg.AssetKey(["shop", "sales"]))


def sales(*days: date, amount: float = 1.0) -> pl.DataFrame:
    return pl.DataFrame(
        {"id": range(len(days)), "amount": amount, "partition": days}, schema_overrides={"id": pl.Int64}
    )


def numbered(number: int) -> str:
    return f"{number:016x}"


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
    assert table.row_counts() == {}
    assert table.data_versions([*DAYS, None]) == {}
    with pytest.raises(
        FileNotFoundError, match=rf"^nothing was ever written to {table.address}; materialize the asset"
    ):
        table.scan()


def test_each_overwrite_gives_the_number_of_its_one_commit(table: Table) -> None:
    assert [table.overwrite(sales(*DAYS[:number]), DAYS[:number]) for number in (1, 3, 2)] == [0, 1, 2]
    assert table.version() == 2


def test_rows_are_counted_in_the_partitions_that_hold_any(table: Table) -> None:
    table.overwrite(sales(DAYS[4], DAYS[1], DAYS[4]), DAYS)
    assert table.row_counts() == {DAYS[1]: 1, DAYS[4]: 2}
    table.overwrite(sales(DAYS[0]), [DAYS[0], DAYS[4]])
    assert table.row_counts() == {DAYS[0]: 1, DAYS[1]: 1}


def test_rows_of_a_table_without_partitions_are_counted_as_a_whole(table: Table) -> None:
    table.overwrite(pl.DataFrame({"id": [1, 2]}), None)
    assert table.row_counts() == {None: 2}
    table.append(pl.DataFrame({"id": [3]}))
    assert table.row_counts() == {None: 3}
    assert table.scan().collect()["id"].sort().to_list() == [1, 2, 3]


def test_a_table_may_begin_with_an_append(table: Table) -> None:
    table.append(pl.DataFrame({"id": [1]}))
    table.append(pl.DataFrame({"id": [2]}))
    assert table.row_counts() == {None: 2}


def test_only_the_partitions_named_are_replaced(table: Table) -> None:
    table.overwrite(sales(*DAYS[:4]), DAYS[:4])
    table.overwrite(sales(DAYS[1], amount=2.0), [DAYS[1], DAYS[3]])
    assert amounts(table) == {DAYS[0]: 1.0, DAYS[1]: 2.0, DAYS[2]: 1.0}


def test_a_table_may_begin_without_rows(table: Table) -> None:
    table.overwrite(sales(DAYS[0]).clear(), [DAYS[0]])
    assert table.exists()
    assert table.row_counts() == {}
    assert table.scan().collect_schema() == sales(DAYS[0]).schema


def test_each_partition_has_the_data_version_it_was_published_with(table: Table) -> None:
    table.overwrite(sales(*DAYS[:3]), DAYS[:3], {day: numbered(1) for day in DAYS[:3]})
    table.overwrite(sales(DAYS[1]), DAYS[1:3], {DAYS[1]: "7" + "f" * 15, DAYS[2]: numbered(2)})
    # a partition may be published without rows
    assert table.data_versions([*DAYS[:4], None]) == {
        DAYS[0]: numbered(1),
        DAYS[1]: "7" + "f" * 15,
        DAYS[2]: numbered(2),
    }


def test_a_table_without_partitions_has_one_data_version(table: Table) -> None:
    table.overwrite(pl.DataFrame({"id": [1]}), None, {None: numbered(1)})
    table.overwrite(pl.DataFrame({"id": [2]}), None, {None: numbered(2)})
    assert table.data_versions([None]) == {None: numbered(2)}


def test_data_versions_outlive_the_log_that_they_were_written_to(table: Table) -> None:
    from deltalake import DeltaTable

    for day in DAYS[:3]:
        table.overwrite(sales(day), [day], {day: numbered(day.day)})
    stored = DeltaTable(table.address)
    stored.create_checkpoint()
    for file in Path(table.address).glob("_delta_log/*.json"):
        file.unlink()
    assert table.data_versions(DAYS) == {day: numbered(day.day) for day in DAYS[:3]}
    assert table.row_counts() == dict.fromkeys(DAYS[:3], 1)


@pytest.mark.parametrize("partitions", [DAYS[:1], None], ids=["partition", "whole"])
def test_what_is_written_without_a_data_version_has_none(table: Table, partitions: list[date] | None) -> None:
    key = DAYS[0] if partitions else None
    table.overwrite(sales(DAYS[0]), partitions, {key: numbered(1)})
    table.overwrite(sales(DAYS[0], amount=2.0), partitions)
    assert table.data_versions([key]) == {}


def test_a_refused_write_leaves_rows_and_data_versions(table: Table) -> None:
    table.overwrite(sales(DAYS[0]), DAYS[:1], {DAYS[0]: numbered(1)})
    with pytest.raises(ValueError, match="nothing was written"):
        table.overwrite(sales(*DAYS[:2]), DAYS[:1], {DAYS[0]: numbered(2)})
    assert table.data_versions(DAYS) == {DAYS[0]: numbered(1)}
    assert table.version() == 0


def test_a_table_can_be_read_as_it_was_at_a_commit(table: Table) -> None:
    table.overwrite(sales(DAYS[0]), DAYS[:1])
    table.overwrite(sales(*DAYS[:2], amount=2.0).with_columns(shop=pl.lit("north")), DAYS[:2])
    assert_frame_equal(table.scan(version=0).collect(), sales(DAYS[0]))
    assert table.scan(DAYS[:1], version=1).collect()["amount"].to_list() == [2.0]


def test_a_moment_stands_for_the_newest_commit_before_it(table: Table) -> None:
    early = datetime.now(UTC)
    sleep(0.01)
    table.overwrite(sales(DAYS[0]), DAYS[:1], {DAYS[0]: numbered(1)})
    sleep(0.01)
    moment = datetime.now(UTC)
    sleep(0.01)
    table.overwrite(sales(DAYS[1], amount=2.0), DAYS[1:2], {DAYS[1]: numbered(2)})
    elsewhere = moment.astimezone(timezone(timedelta(hours=-5)))
    for same in (moment, moment.replace(tzinfo=None), elsewhere, 0):
        assert table.commit(same) == 0
    assert table.commit(datetime.now(UTC)) == table.commit(1) == 1
    assert table.data_versions(DAYS, 0) == {DAYS[0]: numbered(1)}
    with pytest.raises(LookupError, match=r"there is no commit 2; the newest is 1\."):
        table.commit(2)
    with pytest.raises(LookupError, match=r"nothing was there on .* UTC yet; the first commit is of "):
        table.commit(early)


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


def test_columns_keep_their_order_and_new_ones_come_last(table: Table) -> None:
    table.overwrite(sales(*DAYS[:2]), DAYS[:2])
    table.overwrite(sales(DAYS[1]).select("partition", shop=pl.lit("north"), amount=2.0), [DAYS[1]])
    assert table.scan().collect_schema().names() == ["id", "amount", "partition", "shop"]


def test_a_column_that_is_not_given_is_missing_in_the_new_rows_only(table: Table) -> None:
    table.overwrite(sales(*DAYS[:2]), DAYS[:2])
    table.overwrite(sales(DAYS[1]).drop("amount"), [DAYS[1]])
    assert amounts(table) == {DAYS[0]: 1.0, DAYS[1]: None}


def test_a_small_table_of_which_a_file_is_gone_is_an_error_of_files(table: Table) -> None:
    table.append(pl.DataFrame({"id": [1]}))
    (file,) = Path(table.address).glob("*.parquet")
    file.unlink()
    with pytest.raises(OSError, match=f"^{table.address} cannot be read, "):
        table.read()


def test_the_newest_columns_of_a_partition_are_those_that_it_was_written_with(table: Table) -> None:
    assert table.newest_schema() == {}
    assert table.newest_schemas(DAYS) == {}
    table.overwrite(sales(*DAYS[:3]), DAYS[:3])
    table.overwrite(sales(DAYS[1]).drop("amount"), [DAYS[1]])
    names = {day: schema.names() for day, schema in table.newest_schemas([DAYS[0], DAYS[1], DAYS[5]]).items()}
    assert names == {DAYS[0]: ["id", "amount"], DAYS[1]: ["id"]}
    assert table.newest_schema().names() == ["id", "amount"]
    table.overwrite(sales(DAYS[2]).drop("amount"), [DAYS[2]])
    assert table.newest_schema().names() == ["id"]
    table.overwrite(sales(DAYS[0]).head(0), DAYS[:3])
    assert table.newest_schema() == table.scan().collect_schema()


def test_the_newest_columns_of_a_table_without_partitions(table: Table) -> None:
    table.overwrite(pl.DataFrame({"id": [1], "amount": [2.0]}), None)
    table.overwrite(pl.DataFrame({"id": [1]}), None)
    assert table.newest_schema().names() == ["id"]
    assert table.newest_schemas([None]) == {None: pl.Schema({"id": pl.Int64()})}


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
    assert table.read() is not None


def test_a_small_table_is_read_whole_with_the_number_of_its_newest_commit(table: Table) -> None:
    assert table.read() is None
    for number, until in enumerate([None, DAYS[0]]):
        row = pl.DataFrame({"id": [number], "at": [datetime(2024, 1, 1, 12)], "until": [until]})
        assert table.append_after(number - 1 if number else None, row.cast({"until": pl.Date}))
    stored = table.read()
    assert stored is not None
    commit, rows = stored
    assert commit == table.version() == 1
    assert_frame_equal(rows, table.scan().collect(), check_row_order=False)
    assert set(rows["until"]) == {None, DAYS[0]}


def write(table: Table, number: int, days: Sequence[date] | None, versioned: bool, column: str | None = None) -> None:
    """Publish days, or the whole table, with the writer's number in each row and as data version."""
    rows = sales(*(days or DAYS[:1]), amount=float(number))
    if column is not None:
        rows = rows.with_columns(pl.lit(number).alias(column))
    table.overwrite(rows, days, dict.fromkeys(days or [None], numbered(number)) if versioned else None)


def at_once(writers: Executor, *jobs: tuple[Any, ...]) -> None:
    """All writes at about the same time; what one of them raises comes through."""
    for done in [writers.submit(write, *job) for job in jobs]:
        done.result()


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("begun", [True, False])
def test_writers_of_different_partitions_lose_nothing(table: Table, begun: bool, versioned: bool) -> None:
    if begun:
        write(table, 0, [BEFORE], versioned)
    with ThreadPoolExecutor(len(DAYS)) as writers:
        at_once(writers, *((table, number, [day], versioned) for number, day in enumerate(DAYS, start=1)))
    expected = {day: float(number) for number, day in enumerate(DAYS, start=1)}
    assert amounts(table) == (expected | {BEFORE: 0.0} if begun else expected)
    assert table.version() == len(DAYS) - (not begun)
    assert len(table.data_versions(DAYS)) == (len(DAYS) if versioned else 0)


@pytest.mark.parametrize("days", [DAYS[:2], None], ids=["partitions", "whole"])
@pytest.mark.parametrize("begun", [True, False])
def test_of_writers_of_the_same_rows_one_wins_with_its_data_version(
    table: Table, days: list[date] | None, begun: bool
) -> None:
    if begun:
        write(table, 0, [BEFORE] if days else None, True)
    with ThreadPoolExecutor(5) as writers:
        at_once(writers, *((table, number, days, True) for number in range(1, 6)))
    found = table.scan(days).collect()
    assert found.height == len(days or DAYS[:1])
    assert set(table.data_versions(days or [None]).values()) == {numbered(int(one)) for one in set(found["amount"])}


def test_writers_in_processes_of_their_own_lose_nothing(table: Table) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as writers:
        at_once(
            writers,
            *((table, number, [day], True) for number, day in enumerate(DAYS, start=1)),
            *((table, number, [BEFORE], True) for number in (8, 9)),
        )
    assert table.row_counts() == dict.fromkeys([BEFORE, *DAYS], 1)
    assert table.data_versions(amounts(table)) == {day: numbered(int(one)) for day, one in amounts(table).items()}


def before_the_commit(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let something happen after the next write has looked at the table and before it commits."""
    from deltalake import DeltaTable

    commit = DeltaTable.create_write_transaction

    def late(*arguments: Any, **named: Any) -> None:
        monkeypatch.undo()
        act()
        commit(*arguments, **named)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", late)


@pytest.mark.parametrize("versioned", [True, False])
def test_two_writers_of_a_new_partition_do_not_both_stay(
    table: Table, versioned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(table, 0, [BEFORE], versioned)
    before_the_commit(monkeypatch, lambda: write(table, 1, DAYS[:1], versioned))
    write(table, 2, DAYS[:1], versioned)
    assert table.scan(DAYS[:1]).collect()["amount"].to_list() == [2.0]


def test_a_write_begun_before_another_ended_keeps_the_partitions_of_the_other(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(table, 0, DAYS[:2], True)
    before_the_commit(monkeypatch, lambda: write(table, 1, DAYS[1:2], True, "shop"))
    write(table, 2, DAYS[:1], True, "till")
    assert amounts(table) == {DAYS[0]: 2.0, DAYS[1]: 1.0}
    assert {"shop", "till"} <= set(table.scan().collect_schema())


def test_a_column_that_another_writer_adds_meanwhile_is_kept(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    write(table, 0, [BEFORE], True)
    scan = pl.scan_delta

    def early(*arguments: Any, **named: Any) -> pl.LazyFrame:
        monkeypatch.undo()
        rows = scan(*arguments, **named)
        rows.collect_schema()
        write(table, 1, DAYS[:1], True, "shop")
        return rows

    monkeypatch.setattr(pl, "scan_delta", early)
    write(table, 2, DAYS[1:2], True)
    assert "shop" in table.scan().collect_schema()
