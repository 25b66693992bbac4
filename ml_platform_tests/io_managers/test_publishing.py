"""Audit before publish: what passed is stored and recorded exactly, what was refused keeps the value it had."""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from ml_platform.io_managers.publishing import Audited
from ml_platform.io_managers.tables import TableIOManager
from ml_platform.partitions import accepted_previews
from ml_platform.resources.lake import Lake, Table

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-11")
KEY = dg.AssetKey(["shop", "sales"])
FIRST, SECOND, THIRD, FOURTH = (f"2024-01-0{number}" for number in range(1, 5))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path))


@pytest.fixture
def table(lake: Lake) -> Table:
    return lake.table(KEY)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def sales(amount: float, refused: Mapping[str | None, str], calls: list[int] | None = None) -> dg.AssetsDefinition:
    """A partitioned asset with one row a day, which refuses some of its partitions."""

    def compute(context: dg.AssetExecutionContext) -> Any:
        if calls is not None:
            calls.append(1)
        days = [date.fromisoformat(key) for key in context.partition_keys]
        rows = pl.DataFrame({"amount": [amount] * len(days), "partition": days})
        counts = {key: {"dagster/partition_row_count": 1} for key in context.partition_keys}
        return Audited(rows, {key: why for key, why in refused.items() if key in context.partition_keys}, counts)

    with accepted_previews():
        return dg.asset(
            key=KEY,
            partitions_def=DAYS,
            backfill_policy=dg.BackfillPolicy.single_run(),
            retry_policy=dg.RetryPolicy(max_retries=2),
        )(compute)


def whole(value: object, refused: Mapping[str | None, str]) -> dg.AssetsDefinition:
    """An asset without partitions."""

    def compute() -> Any:
        return Audited(value, refused)

    return dg.asset(key=KEY)(compute)


def run(
    lake: Lake, instance: dg.DagsterInstance, *assets: dg.AssetsDefinition, days: tuple[str, str] | None = None
) -> bool:
    ends = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    return dg.materialize(
        assets,
        instance=instance,
        resources={"io_manager": TableIOManager(lake=lake)},
        tags=dict(zip(ends, days, strict=True)) if days else None,
    ).success


def amounts(table: Table) -> dict[str, float]:
    rows = table.scan().select(pl.col("partition").cast(pl.String), "amount").collect()
    return dict(rows.iter_rows())


def materialized(instance: dg.DagsterInstance) -> list[dg.AssetMaterialization]:
    records = instance.fetch_materializations(KEY, limit=100, ascending=True).records
    return [record.asset_materialization for record in records if record.asset_materialization]


@pytest.mark.parametrize("refused", [[SECOND], [FIRST, FOURTH], [FIRST, SECOND, THIRD]])
def test_what_passed_is_written_and_recorded_and_nothing_else(
    lake: Lake, table: Table, instance: dg.DagsterInstance, refused: list[str]
) -> None:
    with dg.DagsterInstance.ephemeral() as earlier:
        run(lake, earlier, sales(1.0, {}), days=(FIRST, FOURTH))
    with pytest.raises(dg.Failure):
        run(lake, instance, sales(2.0, dict.fromkeys(refused, "too few rows.")), days=(FIRST, FOURTH))
    passed = {FIRST, SECOND, THIRD, FOURTH} - set(refused)
    assert amounts(table) == {**dict.fromkeys(refused, 1.0), **dict.fromkeys(passed, 2.0)}
    assert instance.get_materialized_partitions(KEY) == passed
    assert table.version() == 1


def test_a_refused_partition_that_had_no_value_has_none(lake: Lake, table: Table, instance: dg.DagsterInstance) -> None:
    with pytest.raises(dg.Failure):
        run(lake, instance, sales(1.0, {SECOND: "too few rows."}), days=(FIRST, THIRD))
    assert table.partitions() == [date(2024, 1, 1), date(2024, 1, 3)]


def test_the_failure_names_each_refused_partition_with_its_reason(lake: Lake, instance: dg.DagsterInstance) -> None:
    reasons = {FIRST: "too few rows.", THIRD: "no file."}
    message = f"^shop/sales refused 2 of 3 partitions: {FIRST}: too few rows.; {THIRD}: no file.$"
    with pytest.raises(dg.Failure, match=message) as caught:
        run(lake, instance, sales(1.0, reasons), days=(FIRST, THIRD))
    assert caught.value.metadata["refused"].value == reasons


def test_a_refusal_is_not_tried_again(lake: Lake, instance: dg.DagsterInstance) -> None:
    calls: list[int] = []
    with pytest.raises(dg.Failure):
        run(lake, instance, sales(1.0, {FIRST: "no file."}, calls), days=(FIRST, SECOND))
    assert calls == [1]


def test_each_recorded_partition_has_its_own_metadata_and_that_of_the_table(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    with pytest.raises(dg.Failure):
        run(lake, instance, sales(1.0, {SECOND: "no file."}), days=(FIRST, THIRD))
    events = materialized(instance)
    assert [event.partition for event in events] == [FIRST, THIRD]
    for event in events:
        assert event.metadata["dagster/partition_row_count"].value == 1
        assert event.metadata["table_version"].value == 0
        assert SECOND not in str(event.metadata["preview"].value)
        assert [column.name for column in event.metadata["dagster/column_schema"].value.columns] == [
            "amount",
            "partition",
        ]


def test_all_refused_writes_nothing(lake: Lake, table: Table, instance: dg.DagsterInstance) -> None:
    with pytest.raises(dg.Failure, match=r"^shop/sales refused 2 of 2 partitions: "):
        run(lake, instance, sales(1.0, {FIRST: "no file.", SECOND: "no file."}), days=(FIRST, SECOND))
    assert not table.exists()
    assert materialized(instance) == []


def test_all_refused_keeps_what_was_there(lake: Lake, table: Table, instance: dg.DagsterInstance) -> None:
    run(lake, instance, sales(1.0, {}), days=(FIRST, SECOND))
    with pytest.raises(dg.Failure):
        run(lake, instance, sales(2.0, {FIRST: "no file.", SECOND: "no file."}), days=(FIRST, SECOND))
    assert table.version() == 0
    assert len(materialized(instance)) == 2


def test_a_single_refused_partition_fails_its_run(lake: Lake, table: Table, instance: dg.DagsterInstance) -> None:
    with pytest.raises(dg.Failure, match=f"^shop/sales refused 1 of 1 partitions: {SECOND}: no file.$"):
        dg.materialize(
            [sales(1.0, {SECOND: "no file."})],
            partition_key=SECOND,
            instance=instance,
            resources={"io_manager": TableIOManager(lake=lake)},
        )
    assert not table.exists()


def test_a_refused_value_may_be_no_table_at_all(lake: Lake, table: Table, instance: dg.DagsterInstance) -> None:
    def compute() -> Any:
        return Audited(None, {FIRST: "there is no champion."})

    upstream = dg.asset(key=KEY, partitions_def=DAYS)(compute)
    with pytest.raises(dg.Failure, match="there is no champion"):
        run(lake, instance, upstream, days=(FIRST, FIRST))
    assert not table.exists()


@pytest.mark.parametrize("other", [date(2024, 1, 9), None])
def test_rows_of_another_partition_are_refused_next_to_a_refused_partition_too(
    lake: Lake, table: Table, instance: dg.DagsterInstance, other: date | None
) -> None:
    def compute() -> Any:
        days = [date(2024, 1, 1), date(2024, 1, 2), other]
        return Audited(pl.DataFrame({"amount": [1.0] * 3, "partition": days}), {SECOND: "no file."})

    with accepted_previews():
        upstream = dg.asset(key=KEY, partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())(compute)
    with pytest.raises(ValueError, match="nothing was written"):
        run(lake, instance, upstream, days=(FIRST, SECOND))
    assert not table.exists()


def test_nothing_refused_succeeds_and_records_every_partition(
    lake: Lake, table: Table, instance: dg.DagsterInstance
) -> None:
    assert run(lake, instance, sales(1.0, {}), days=(FIRST, THIRD))
    assert instance.get_materialized_partitions(KEY) == {FIRST, SECOND, THIRD}
    assert amounts(table) == {FIRST: 1.0, SECOND: 1.0, THIRD: 1.0}


def test_stages_after_a_refusal_do_not_run(lake: Lake, instance: dg.DagsterInstance) -> None:
    seen: list[Any] = []

    def compute(sales: Any) -> None:
        seen.append(sales)

    compute.__annotations__ = {"sales": pl.DataFrame, "return": None}
    with accepted_previews():
        after = dg.asset(
            partitions_def=DAYS, ins={"sales": dg.AssetIn(KEY)}, backfill_policy=dg.BackfillPolicy.single_run()
        )(compute)
    with pytest.raises(dg.Failure):
        run(lake, instance, sales(1.0, {SECOND: "no file."}), after, days=(FIRST, SECOND))
    assert seen == []


def test_a_write_that_fails_records_nothing(lake: Lake, instance: dg.DagsterInstance) -> None:
    def compute() -> Any:
        return Audited(pl.DataFrame({"amount": [1.0]}), {SECOND: "no file."})

    with accepted_previews():
        upstream = dg.asset(key=KEY, partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())(compute)
    with pytest.raises(TypeError, match="has no column 'partition'"):
        run(lake, instance, upstream, days=(FIRST, SECOND))
    assert materialized(instance) == []


def test_without_partitions_the_whole_is_refused(lake: Lake, table: Table, instance: dg.DagsterInstance) -> None:
    run(lake, instance, whole(pl.DataFrame({"amount": [1.0]}), {}))
    with pytest.raises(dg.Failure, match=r"^shop/sales refused the data: too few rows\.$"):
        run(lake, instance, whole(pl.DataFrame({"amount": [2.0]}), {None: "too few rows."}))
    assert table.scan().collect()["amount"].to_list() == [1.0]
    assert table.version() == 0
    assert len(materialized(instance)) == 1


def test_the_verdicts_of_one_value_are_its_own() -> None:
    refused, metadata = Audited(1).refused, Audited(1).metadata
    assert refused == {}
    assert metadata == {}
    assert Audited(1).refused is not refused
