"""The I/O manager of tables: any kind of frame in and out, ranges in one commit, and nothing written when refused."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ml_platform.io_managers.publishing import Step
from ml_platform.io_managers.tables import TableIOManager, column_schema, describe
from ml_platform.ml.frames import FRAMES, kind, to_polars
from ml_platform.partitions import accepted_previews
from ml_platform.resources.lake import Lake, Table

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-11")
KEY = dg.AssetKey("sales")
COLUMNS = {
    "id": pl.Int64(),
    "amount": pl.Float64(),
    "shop": pl.String(),
    "paid": pl.Boolean(),
    "at": pl.Datetime("us"),
    "partition": pl.Date(),
}
Make = Callable[[list[date]], Any]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path))


@pytest.fixture
def table(lake: Lake) -> Table:
    return lake.table(KEY)


def day(number: int) -> date:
    return date(2024, 1, number)


def sales(days: Sequence[date], amount: float = 1.0) -> pl.DataFrame:
    """Two rows a day, of every type that all four kinds of frames keep, one with missing values."""
    return pl.DataFrame(
        {
            "id": range(2 * len(days)),
            "amount": [amount, None] * len(days),
            "shop": ["nörth", None] * len(days),
            "paid": [True, False] * len(days),
            "at": [datetime(2024, 1, 1, 12, 30, 0, 250)] * 2 * len(days),
            "partition": [each for each in days for _ in range(2)],
        },
        schema=COLUMNS,
    )


def asset(make: Make, *, partitioned: bool = True, **options: Any) -> dg.AssetsDefinition:
    """The asset `sales`, made by a function of the days of the run."""

    def compute(context: dg.AssetExecutionContext) -> Any:
        return make([date.fromisoformat(key) for key in context.partition_keys] if partitioned else [day(1)])

    if partitioned:
        options = {"partitions_def": DAYS, "backfill_policy": dg.BackfillPolicy.single_run(), **options}
    with accepted_previews():
        return dg.asset(key=KEY, **options)(compute)


def reader(wanted: Any, seen: list[Any], *, name: str = "reader", **options: Any) -> dg.AssetsDefinition:
    """An asset that is annotated with a kind of frame and keeps what it is given."""

    def compute(sales: Any) -> None:
        seen.append(sales)

    compute.__annotations__ = {"sales": wanted, "return": None}
    with accepted_previews():
        return dg.asset(name=name, **options)(compute)


def daily(lookback: int = 0) -> dict[str, Any]:
    """Options of a reader of whole ranges of days, and of the days before them."""
    with accepted_previews():
        mapping = dg.TimeWindowPartitionMapping(start_offset=-lookback, allow_nonexistent_upstream_partitions=True)
    return {
        "partitions_def": DAYS,
        "ins": {"sales": dg.AssetIn(KEY, partition_mapping=mapping)},
        "backfill_policy": dg.BackfillPolicy.single_run(),
    }


def run(
    lake: Lake, *assets: dg.AssetsDefinition, days: tuple[int, int] | None = None, only: str | None = None
) -> dg.ExecuteInProcessResult:
    """Materialize assets, or one of them, over a range of days."""
    span = {
        f"dagster/asset_partition_range_{end}": str(day(n))
        for end, n in zip(("start", "end"), days or (), strict=False)
    }
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            assets,
            instance=instance,
            resources={"io_manager": TableIOManager(lake=lake)},
            selection=[only] if only else None,
            tags=span,
        )


def returning(kind_of_frame: str) -> Callable[[pl.DataFrame], Any]:
    convert: dict[str, Callable[[pl.DataFrame], Any]] = {
        "polars.DataFrame": pl.DataFrame.clone,
        "polars.LazyFrame": pl.DataFrame.lazy,
        "pandas.DataFrame": partial(pl.DataFrame.to_pandas, date_as_object=True),
        "pyarrow.Table": pl.DataFrame.to_arrow,
    }
    return convert[kind_of_frame]


def frame_types() -> dict[str, type]:
    import pandas as pd
    import pyarrow as pa

    return {kind(one): one for one in (pl.DataFrame, pl.LazyFrame, pd.DataFrame, pa.Table)}


@pytest.mark.parametrize("partitioned", [True, False])
@pytest.mark.parametrize("returned", FRAMES)
def test_takes_and_gives_each_kind_of_frame(lake: Lake, returned: str, partitioned: bool) -> None:
    seen: dict[str, list[Any]] = {name: [] for name in FRAMES}
    options = daily() if partitioned else {}
    readers = [
        reader(wanted, seen[name], name=f"reader_{number}", **options)
        for number, (name, wanted) in enumerate(frame_types().items())
    ]
    upstream = asset(lambda days: returning(returned)(sales(days)), partitioned=partitioned)
    run(lake, upstream, *readers, days=(2, 4) if partitioned else None)
    expected = sales([day(2), day(3), day(4)] if partitioned else [day(1)])
    for name, (frame,) in seen.items():
        assert kind(type(frame)) == name
        # pandas has no dates of its own
        found = to_polars(frame, name).with_columns(pl.col("partition").cast(pl.Date))
        assert_frame_equal(found, expected, check_row_order=False)


def test_what_pandas_was_given_can_be_stored(lake: Lake, table: Table) -> None:
    run(lake, asset(lambda days: sales(days).to_pandas()), days=(2, 4))
    assert_frame_equal(table.scan().collect(), sales([day(2), day(3), day(4)]), check_row_order=False)


@pytest.mark.parametrize("later", [[3, None], [None, None]])
def test_integers_from_pandas_may_be_missing_on_some_days_only(
    lake: Lake, table: Table, later: list[int | None]
) -> None:
    def make(visits: list[int | None]) -> Make:
        return lambda days: sales(days).with_columns(visits=pl.Series(visits)).to_pandas(date_as_object=True)

    run(lake, asset(make([3, 4])), days=(1, 1))
    run(lake, asset(make(later)), days=(2, 2))
    assert table.scan([day(2)]).collect()["visits"].to_list() == later


def test_the_index_of_a_pandas_frame_is_not_left_out_without_a_word(lake: Lake) -> None:
    upstream = asset(lambda days: sales(days).to_pandas().set_index("id"), partitioned=False)
    with pytest.raises(TypeError, match="index"):
        run(lake, upstream)


def test_a_range_is_one_commit_and_one_read(lake: Lake, table: Table) -> None:
    made: list[list[date]] = []
    seen: list[pl.DataFrame] = []

    def make(days: list[date]) -> pl.DataFrame:
        made.append(days)
        return sales(days)

    assets = [asset(make), reader(pl.DataFrame, seen, **daily())]
    run(lake, *assets, days=(1, 3))
    assert table.version() == 0
    run(lake, *assets, days=(3, 7))
    assert table.version() == 1
    assert made == [[day(n) for n in span] for span in (range(1, 4), range(3, 8))]
    assert [sorted(rows["partition"].unique()) for rows in seen] == made


def test_a_single_partition_is_written_alone(lake: Lake, table: Table) -> None:
    resources = {"io_manager": TableIOManager(lake=lake)}
    with dg.DagsterInstance.ephemeral() as instance:
        for key in ("2024-01-02", "2024-01-05"):
            dg.materialize([asset(sales)], partition_key=key, instance=instance, resources=resources)
    assert table.row_counts() == {day(2): 2, day(5): 2}


def test_rewriting_a_partition_leaves_the_files_of_the_others_alone(lake: Lake, table: Table) -> None:
    def files() -> dict[str, bytes]:
        stored = Path(table.address).glob("partition=*/*.parquet")
        return {str(path): path.read_bytes() for path in stored if "2024-01-02" not in str(path)}

    run(lake, asset(sales), days=(1, 4))
    before, others = table.scan().collect(), files()
    run(lake, asset(lambda days: sales(days, amount=2.0)), days=(2, 2))
    assert len(others) == 3
    assert files() == others
    assert set(table.scan([day(2)]).collect()["amount"]) == {2.0, None}
    rest = pl.col("partition") != day(2)
    assert_frame_equal(table.scan().filter(rest).collect(), before.filter(rest), check_row_order=False)


def test_a_table_without_partitions_is_replaced(lake: Lake, table: Table) -> None:
    run(lake, asset(sales, partitioned=False))
    run(lake, asset(lambda days: sales(days, amount=2.0).drop("paid"), partitioned=False))
    assert_frame_equal(table.scan().collect(), sales([day(1)], amount=2.0).drop("paid"), check_row_order=False)


@pytest.mark.parametrize(
    ("span", "window"), [((5, 5), range(3, 6)), ((5, 7), range(3, 8)), ((1, 1), [1]), ((2, 3), [1, 2, 3])]
)
def test_a_lookback_reads_exactly_its_window(lake: Lake, span: tuple[int, int], window: Sequence[int]) -> None:
    seen: list[pl.DataFrame] = []
    assets = [asset(sales), reader(pl.DataFrame, seen, **daily(lookback=2))]
    run(lake, *assets, days=(1, 10), only="sales")
    run(lake, *assets, days=span, only="reader")
    assert_frame_equal(seen[0].drop("id"), sales([day(n) for n in window]).drop("id"), check_row_order=False)


def test_a_window_before_the_first_partition_has_no_rows(lake: Lake) -> None:
    with accepted_previews():
        before = dg.TimeWindowPartitionMapping(-1, -1, allow_nonexistent_upstream_partitions=True)
    seen: list[pl.DataFrame] = []
    options = {"partitions_def": DAYS, "ins": {"sales": dg.AssetIn(KEY, partition_mapping=before)}}
    assets = [asset(sales), reader(pl.DataFrame, seen, **options)]
    run(lake, *assets, days=(1, 2), only="sales")
    run(lake, *assets, days=(1, 1), only="reader")
    assert_frame_equal(seen[0], sales([]))


def test_a_partition_that_was_never_written_has_no_rows(lake: Lake) -> None:
    seen: list[pl.DataFrame] = []
    assets = [asset(sales), reader(pl.DataFrame, seen, **daily())]
    run(lake, *assets, days=(1, 2), only="sales")
    run(lake, *assets, days=(9, 9), only="reader")
    assert_frame_equal(seen[0], sales([]))


def test_reading_what_was_never_written_says_what_to_do(lake: Lake) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing was ever written to .*/sales; materialize the asset first"):
        run(lake, asset(sales), reader(pl.DataFrame, [], **daily()), days=(1, 1), only="reader")


def test_an_unpartitioned_reader_gets_all_partitions(lake: Lake) -> None:
    seen: list[pl.DataFrame] = []
    assets = [asset(sales), reader(pl.DataFrame, seen)]
    run(lake, *assets, days=(1, 3), only="sales")
    run(lake, *assets, only="reader")
    assert_frame_equal(seen[0], sales([day(1), day(2), day(3)]), check_row_order=False)


def test_a_new_column_is_added(lake: Lake, table: Table) -> None:
    run(lake, asset(sales), days=(1, 2))
    run(lake, asset(lambda days: sales(days).with_columns(till=pl.lit(7))), days=(2, 2))
    tills = table.scan().select("partition", "till").unique().sort("partition").collect()
    assert tills.rows() == [(day(1), None), (day(2), 7)]


def test_the_materialization_shows_rows_columns_version_and_a_preview(lake: Lake) -> None:
    def make(context: dg.AssetExecutionContext) -> pl.DataFrame:
        for key in context.partition_keys:
            context.add_asset_metadata({"dagster/partition_row_count": 2}, asset_key=KEY, partition_key=key)
        return sales([date.fromisoformat(key) for key in context.partition_keys])

    with accepted_previews():
        upstream = dg.asset(key=KEY, partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())(make)
    found = run(lake, upstream, days=(1, 3)).asset_materializations_for_node("sales")
    assert [one.partition for one in found] == ["2024-01-01", "2024-01-02", "2024-01-03"]
    for one in found:
        assert one.metadata["table_version"].value == 0
        assert one.metadata["dagster/partition_row_count"].value == 2
        columns = one.metadata["dagster/column_schema"].value.columns
        assert {column.name: column.type for column in columns} == {
            "id": "Int64",
            "amount": "Float64",
            "shop": "String",
            "paid": "Boolean",
            "at": "Datetime(time_unit='us', time_zone=None)",
            "partition": "Date",
        }
        preview = one.metadata["preview"].value.splitlines()
        assert preview[0] == "| id | amount | shop | paid | at | partition |"
        assert len(preview) == 2 + 5


def test_a_preview_stays_a_table_whatever_is_in_the_cells() -> None:
    preview = describe(pl.DataFrame({"a|b": ["x|y", None]}))["preview"].value
    assert preview == "| a\\|b |\n| --- |\n| x\\|y |\n| None |"


def test_a_preview_has_one_line_for_each_row() -> None:
    assert len(describe(pl.DataFrame({"a": ["two\nlines"]}))["preview"].value.splitlines()) == 3


@pytest.mark.parametrize(
    ("value", "called"), [([1, 2], "builtins.list"), (None, "builtins.NoneType"), (7, "builtins.int")]
)
def test_what_is_no_frame_is_refused(lake: Lake, table: Table, value: Any, called: str) -> None:
    message = f"^The value of sales is a {called}; it must be one of polars.DataFrame, .*, pyarrow.Table.$"
    with pytest.raises(TypeError, match=message):
        run(lake, asset(lambda _: value), days=(1, 2))
    assert not table.exists()


@pytest.mark.parametrize("wanted", [dict, Any, pl.Series])
def test_an_annotation_that_is_no_frame_is_refused(lake: Lake, wanted: Any) -> None:
    seen: list[Any] = []
    message = r"^The input sales is annotated [\w.]+; annotate one of polars.DataFrame, .*, pyarrow.Table.$"
    with pytest.raises(TypeError, match=message):
        run(lake, asset(sales), reader(wanted, seen, **daily()), days=(1, 1))
    assert seen == []


def test_rows_that_do_not_say_their_partition_are_refused(lake: Lake, table: Table) -> None:
    message = "^sales has no column 'partition'; add it, with the first day of each row's partition.$"
    with pytest.raises(TypeError, match=message):
        run(lake, asset(lambda days: sales(days).drop("partition")), days=(1, 2))
    assert not table.exists()


def test_a_type_that_differs_from_the_declared_one_is_refused(lake: Lake, table: Table) -> None:
    metadata = {"dagster/column_schema": column_schema({"id": pl.Int64(), "amount": pl.Float64()})}
    message = "^Column 'id' of sales is String, not Int64 as before; nothing was written.$"
    with pytest.raises(TypeError, match=message):
        run(lake, asset(lambda days: sales(days).cast({"id": pl.String}), metadata=metadata), days=(1, 2))
    assert not table.exists()


@pytest.mark.parametrize("partitioned", [True, False])
@pytest.mark.parametrize(
    ("other", "found"),
    [
        (pl.col("id") + 0.5, "id' of sales is Float64, not Int64"),
        (pl.col("amount").cast(pl.String), "amount' of sales is String, not Float64"),
        (pl.col("at").dt.date(), "at' of sales is Date, not Datetime"),
        (pl.lit("yes").alias("paid"), "paid' of sales is String, not Boolean"),
    ],
    ids=["id", "amount", "at", "paid"],
)
def test_a_type_that_differs_from_the_stored_one_is_refused(
    lake: Lake, table: Table, other: pl.Expr, found: str, partitioned: bool
) -> None:
    days = (1, 2) if partitioned else None
    run(lake, asset(sales, partitioned=partitioned), days=days)
    before = table.scan().collect()
    with pytest.raises(TypeError, match=f"^Column '{found}.* as before; nothing was written.$"):
        run(lake, asset(lambda days: sales(days).with_columns(other), partitioned=partitioned), days=days)
    assert table.version() == 0
    assert_frame_equal(table.scan().collect(), before)


def test_a_declaration_that_was_changed_does_not_change_values_on_their_way_to_the_table(
    lake: Lake, table: Table
) -> None:
    def declared(dtype: Any, value: float) -> dg.AssetsDefinition:
        metadata = {"dagster/column_schema": column_schema({"size": dtype()})}
        return asset(lambda days: sales(days).with_columns(size=pl.lit(value, dtype)), metadata=metadata)

    run(lake, declared(pl.Int64, 1), days=(1, 1))
    with pytest.raises(TypeError, match=r"^Column 'size' of sales is Float64, not Int64"):
        run(lake, declared(pl.Float64, 1.7), days=(2, 2))
    assert table.version() == 0


def test_a_column_that_is_not_declared_keeps_its_stored_type(lake: Lake, table: Table) -> None:
    metadata = {"dagster/column_schema": column_schema({"id": pl.Int64()})}
    run(lake, asset(lambda days: sales(days).with_columns(size=1), metadata=metadata), days=(1, 1))
    with pytest.raises(TypeError, match=r"^Column 'size' of sales is Float64, not Int"):
        run(lake, asset(lambda days: sales(days).with_columns(size=1.7), metadata=metadata), days=(2, 2))
    assert table.version() == 0


@pytest.mark.parametrize("dtype", [pl.UInt32(), pl.Datetime("ns"), pl.Datetime("ms"), pl.Datetime("us", "Europe/Rome")])
def test_what_could_be_written_once_can_be_written_again(lake: Lake, table: Table, dtype: Any) -> None:
    upstream = asset(lambda days: sales(days).with_columns(more=pl.lit(1).cast(dtype)))
    run(lake, upstream, days=(1, 1))
    run(lake, upstream, days=(2, 2))
    assert table.row_counts() == {day(1): 2, day(2): 2}


@pytest.mark.parametrize("dtype", [pl.Categorical(), pl.Enum(["a"])])
def test_categories_are_stored_as_text(lake: Lake, table: Table, dtype: Any) -> None:
    run(lake, asset(lambda days: sales(days).with_columns(more=pl.lit("a").cast(dtype))), days=(1, 1))
    assert table.scan().collect()["more"].to_list() == ["a", "a"]


@pytest.mark.parametrize(
    "values", [pl.Series([None], dtype=pl.Null), pl.Series([timedelta(1)])], ids=["null", "duration"]
)
def test_a_type_that_delta_cannot_store_is_refused_by_its_column(lake: Lake, values: pl.Series) -> None:
    with pytest.raises(TypeError, match=r"'more'.*sales"):
        run(lake, asset(lambda days: sales(days).head(1).with_columns(values.alias("more"))), days=(1, 1))


def test_a_row_of_another_partition_is_refused(lake: Lake, table: Table) -> None:
    run(lake, asset(sales), days=(1, 5))
    before = table.scan().collect()
    message = r"^rows of 2024-01-05 among those of 2024-01-02\.\.2024-01-03; nothing was written\.$"
    with pytest.raises(ValueError, match=message):
        run(lake, asset(lambda days: sales([*days, day(5)], amount=2.0)), days=(2, 3))
    assert table.version() == 0
    assert_frame_equal(table.scan().collect(), before)


SPEC = dg.AssetSpec(KEY)


def test_written_partitions_have_their_data_versions(lake: Lake, table: Table) -> None:
    manager = TableIOManager(lake=lake)
    assert manager.data_versions(KEY, ["2024-01-01"]) == {}
    versions = {"2024-01-01": "0" * 15 + "a", "2024-01-02": "7" * 16}
    shown = manager.write(SPEC, sales([day(1), day(2)]), versions)
    assert manager.data_versions(KEY, ["2024-01-01", "2024-01-02", "2024-01-03"]) == versions
    assert shown["table_version"] == 0
    assert table.row_counts() == {day(1): 2, day(2): 2}


def test_a_write_replaces_exactly_the_partitions_that_are_named(lake: Lake) -> None:
    manager, days = TableIOManager(lake=lake), [f"2024-01-0{number}" for number in range(1, 5)]
    manager.write(SPEC, sales([day(n) for n in range(1, 5)]), dict.fromkeys(days, "2" * 16))
    # the third is named and has no rows any more
    manager.write(SPEC, sales([day(2)], amount=2.0), dict.fromkeys(days[1:3], "1" * 16))
    found = manager.rows(KEY, days).collect()
    assert dict(found.drop_nulls("amount").select("partition", "amount").iter_rows()) == {
        day(1): 1.0,
        day(2): 2.0,
        day(4): 1.0,
    }
    assert manager.data_versions(KEY, days) == dict(zip(days, ["2" * 16, "1" * 16, "1" * 16, "2" * 16], strict=True))


def test_a_write_that_is_refused_changes_no_data_version(lake: Lake, table: Table) -> None:
    manager, versions = TableIOManager(lake=lake), {"2024-01-01": "2" * 16}
    manager.write(SPEC, sales([day(1)]), versions)
    with pytest.raises(ValueError, match="nothing was written"):
        manager.write(SPEC, sales([day(1), day(2)]), {"2024-01-01": "1" * 16})
    assert manager.data_versions(KEY, ["2024-01-01", "2024-01-02"]) == versions
    assert table.version() == 0


def test_a_whole_table_has_one_data_version(lake: Lake) -> None:
    manager = TableIOManager(lake=lake)
    manager.write(SPEC, sales([day(1)]).drop("partition"), {None: "2" * 16})
    manager.write(SPEC, sales([day(1)], amount=2.0).drop("partition"), {None: "1" * 16})
    assert manager.data_versions(KEY, [None]) == {None: "1" * 16}
    assert manager.rows(KEY, [None]).collect()["amount"].to_list() == [2.0, None]


def test_a_table_of_an_asset_of_ones_own_has_no_data_version(lake: Lake) -> None:
    run(lake, asset(sales), days=(1, 2))
    assert TableIOManager(lake=lake).data_versions(KEY, ["2024-01-01", "2024-01-02"]) == {}


def test_what_a_step_has_published_is_not_written_or_recorded_again(lake: Lake, table: Table) -> None:
    found = run(lake, asset(lambda _: Step.PUBLISHED), days=(1, 2))
    assert found.success
    assert found.asset_materializations_for_node("sales") == []
    assert not table.exists()
