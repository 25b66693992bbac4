"""Databases as raw data: a real PostgreSQL and SQLite, their types, their windows, and what they refuse."""

import sys
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from math import isnan
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy
from sqlalchemy import text

from ml_platform.ml.contract import coerce
from ml_platform.partitions import data_partitions, windows_of
from ml_platform.sources import retrying, sql
from ml_platform.sources.delivery import Delivery, NotDeliveredError, Session
from ml_platform.stages import raw_data
from ml_platform.use_case import SqlSource, UseCase
from ml_platform_tests.examples import use_case
from ml_platform_tests.services import PASSWORD, postgres

__all__ = ["postgres"]  # the fixture

DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]
VARIABLE = "SHOP_DATABASE"
ROWS = [
    {"id": 1, "at": datetime(2024, 1, 1, 8), "amount": 1.5, "fraud": 0},
    {"id": 2, "at": datetime(2024, 1, 1, 23, 59, 59), "amount": None, "fraud": 1},
    {"id": 3, "at": datetime(2024, 1, 2), "amount": 2.5, "fraud": 0},
    {"id": 4, "at": None, "amount": 3.5, "fraud": 0},
    {"id": 5, "at": datetime(2030, 1, 1), "amount": 4.5, "fraud": 0},
]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sqlalchemy.Engine:
    """An empty database, whose address stands in the environment."""
    address = f"sqlite:///{tmp_path}/shop.db" if request.param == "sqlite" else request.getfixturevalue("postgres")
    monkeypatch.setenv(VARIABLE, address)
    engine = sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        connection.execute(text("drop table if exists sales"))
    return engine


def fill(engine: sqlalchemy.Engine, rows: Sequence[dict[str, Any]] = ROWS) -> None:
    table = sqlalchemy.Table(
        "sales",
        sqlalchemy.MetaData(),
        sqlalchemy.Column("id", sqlalchemy.BigInteger),
        sqlalchemy.Column("at", sqlalchemy.DateTime),
        sqlalchemy.Column("amount", sqlalchemy.Float),
        sqlalchemy.Column("fraud", sqlalchemy.Integer),
    )
    with engine.begin() as connection:
        table.create(connection)
        connection.execute(table.insert(), rows)


def case(partitions: Any = None, **source: Any) -> UseCase:
    """A use case of the table `sales`, unless the source says something else."""
    named = {} if "query" in source else {"table": "sales"}
    changes = {} if partitions is None else {"partitions": partitions}
    source = {"type": "sql", "address_variable": VARIABLE, **named, **source}
    return use_case(source=source, contract={"columns": {"city": None}}, **changes)


def read(case: UseCase, wanted: Sequence[str] = DAYS) -> list[Delivery]:
    assert isinstance(case.source, SqlSource)
    definition = data_partitions(case)
    return sql.read(case.source, case, windows_of(definition, wanted) if definition else None, Session())


def ids(case: UseCase, wanted: Sequence[str] = DAYS) -> list[list[int]]:
    return [one.load()["id"].to_list() for one in read(case, wanted)]


def problem(case: UseCase) -> str:
    """Why no partition was delivered."""
    problems = set()
    for one in read(case):
        with pytest.raises(NotDeliveredError) as caught:
            one.load()
        problems.add(str(caught.value))
    (said,) = problems
    return said


def test_a_table_is_cut_by_event_time_and_each_row_delivered_once(database: sqlalchemy.Engine) -> None:
    fill(database)
    assert ids(case()) == [[1, 2, 4], [3], []]
    assert [ids(case(), [day])[0] for day in DAYS] == [[1, 2, 4], [3], []]
    (first, *_) = read(case())
    typed = coerce(first.load(), case().contract)
    assert typed["amount"].to_list() == [1.5, None, 3.5]
    assert typed["rescued"].is_null().all()


def test_without_partitions_all_rows_come_at_once(database: sqlalchemy.Engine) -> None:
    fill(database)
    (delivery,) = read(case(partitions="none"))
    assert delivery.load()["id"].sort().to_list() == [1, 2, 3, 4, 5]


def test_the_database_chooses_the_rows_of_the_window(database: sqlalchemy.Engine) -> None:
    fill(database)
    inside = case(query="select id, at, amount, fraud from sales where at >= :start and at < :end order by id;")
    assert ids(inside) == [[1, 2], [3], []]
    # what a query of one's own gives beside the window goes to quarantine with the first partition
    assert ids(case(query="select * from sales where at >= :start")) == [[1, 2, 5], [3], []]


def test_the_fingerprint_is_that_of_the_rows(database: sqlalchemy.Engine) -> None:
    fill(database)
    before = [one.fingerprint for one in read(case())]
    assert [one.fingerprint for one in read(case(), DAYS[1:])] == before[1:]
    with database.begin() as connection:
        connection.execute(text("update sales set amount = 9.5 where id = 3"))
    after = [one.fingerprint for one in read(case())]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]


def test_batches_whose_types_differ_fit_together(database: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "ROWS_AT_ONCE", 1)
    fill(database)
    assert ids(case()) == [[1, 2, 4], [3], []]


@pytest.mark.usefixtures("database")
def test_a_column_that_comes_twice_is_told() -> None:
    said = "the query gives the column 'id' twice; name each column once."
    assert problem(case(query="select 1 as id, 2 as id, :start as at")) == said


@pytest.mark.usefixtures("database")
def test_a_missing_table_is_told_at_once() -> None:
    said = problem(case(table="salez"))
    assert said.startswith(f"the database of {VARIABLE} refused: ")
    assert "salez" in said


def test_a_name_is_quoted_where_it_must_be(database: sqlalchemy.Engine) -> None:
    with database.begin() as connection:
        connection.execute(text('create table "Order" (id bigint, "At" timestamp, fraud int)'))
        connection.execute(text("""insert into "Order" values (7, '2024-01-02 08:00:00', 1)"""))
    try:
        columns = {"id": {"type": "int64"}, "At": {"type": "datetime"}, "fraud": {"type": "int64"}}
        given = {"event_time": "At", "columns": {**dict.fromkeys(("at", "amount", "city")), **columns}}
        upper = use_case(source={"type": "sql", "address_variable": VARIABLE, "table": "Order"}, contract=given)
        assert [len(one) for one in ids(upper)] == [0, 1, 0]
    finally:
        with database.begin() as connection:
            connection.execute(text('drop table "Order"'))


@pytest.fixture
def postgresql(postgres: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(VARIABLE, postgres)
    return postgres


@pytest.mark.usefixtures("postgresql")
def test_the_types_of_postgresql() -> None:
    query = """
        select * from (values
            (9007199254740993::numeric, 1.10::numeric, '2024-01-01'::date, '2024-01-01 00:30+01'::timestamptz, true,
             'ä'::text, '{"a": [1]}'::jsonb, array[1, 2], '\\x00ff'::bytea, interval '1 day', 'NaN'::float8,
             'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid),
            (null, null, null, null, null, null, null, null, null, null, null, null)
        ) as given (large, money, day, moment, yes, word, document, list, bytes, span, nan, uuid)
    """
    (delivery,) = read(case(partitions="none", query=query))
    first, second = delivery.load().rows(named=True)
    assert set(second.values()) == {None}
    assert isnan(first.pop("nan"))
    assert first == {
        "large": "9007199254740993",
        "money": "1.10",
        "day": date(2024, 1, 1),
        "moment": datetime(2023, 12, 31, 23, 30),
        "yes": True,
        "word": "ä",
        "document": '{"a": [1]}',
        "list": "[1, 2]",
        "bytes": b"\x00\xff",
        "span": str(timedelta(days=1)),
        "uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    }


@pytest.mark.usefixtures("postgresql")
def test_moments_with_a_zone_are_compared_in_utc() -> None:
    query = """select 1 as id, '2024-01-02 00:30+01'::timestamptz as at, 1.5 as amount, 0 as fraud"""
    assert ids(case(query=query)) == [[1], [], []]


@pytest.mark.parametrize("written", ["2024-01-02", "2024-01-02T00:00:00", "2024-01-02 00:00:00"])
def test_text_is_an_event_time_in_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv(VARIABLE, f"sqlite:///{tmp_path}/shop.db")
    query = f"select 1 as id, '{written}' as at, 1.5 as amount, 0 as fraud"
    assert ids(case(query=query)) == [[], [1], []]
    assert ids(case(query=query), [DAYS[1]]) == [[1]]


def test_values_of_several_types_in_a_column_of_sqlite_are_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"sqlite:///{tmp_path}/shop.db")
    query = "select 9007199254740993 as id union all select 'x' union all select 1.5 union all select null"
    (delivery,) = read(case(partitions="none", query=query))
    assert sorted(map(str, delivery.load()["id"])) == ["1.5", "9007199254740993", "None", "x"]


def test_a_wrong_password_is_told_at_once_and_not_repeated(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = "hunter%402"
    monkeypatch.setenv(VARIABLE, postgresql.replace(PASSWORD, wrong))
    monkeypatch.setattr(retrying, "WAITS", (600.0,))
    said = problem(case())
    assert "password authentication failed" in said
    assert not any(secret in said for secret in (wrong, "hunter@2"))


def test_a_closed_port_is_tried_again_and_told_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "WAITS", (0.0, 0.0))
    monkeypatch.setenv(VARIABLE, "postgresql://shop:hunter2@127.0.0.1:1/shop")
    said = problem(case())
    assert "Connection refused" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "the environment variable SHOP_DATABASE is not set; "),
        ("hunter2", "what SHOP_DATABASE holds is no SQLAlchemy address; "),
        ("nowhere://shop:hunter2@host/db", "what SHOP_DATABASE holds is no SQLAlchemy address; "),
        ("oracle://shop:hunter2@host/db", "the driver of oracle is not there; install the package "),
    ],
)
def test_an_address_that_leads_nowhere_is_told_without_it(
    monkeypatch: pytest.MonkeyPatch, address: str, said: str
) -> None:
    monkeypatch.setenv(VARIABLE, address)
    told = problem(case())
    assert told.startswith(said)
    assert "hunter2" not in told


def test_a_driver_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    monkeypatch.setenv(VARIABLE, "postgresql://shop:hunter2@127.0.0.1:1/shop")
    assert problem(case()) == "the driver of postgresql is not there; install ml-platform[postgres]."


def test_the_assets_that_make_the_table_are_upstream() -> None:
    stage = raw_data.build(case(after=["warehouse/orders"]))
    assert [dep.asset_key for dep in stage.assets["raw_data"].deps] == [dg.AssetKey(["warehouse", "orders"])]
