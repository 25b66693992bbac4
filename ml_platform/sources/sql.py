"""The source `sql`: rows of a query or a table of any database that SQLAlchemy reaches."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import polars as pl

from ml_platform.partitions import data_partitions
from ml_platform.sources.delivery import (
    Delivery,
    NotDeliveredError,
    Session,
    Wanted,
    by_partition,
    concatenated,
    delivered,
    undelivered,
)
from ml_platform.sources.retrying import retried
from ml_platform.use_case import SqlSource, UseCase

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.sql.elements import TextClause

ROWS_AT_ONCE = 50_000
KEPT = (bool, int, float, str, bytes, date, datetime)
DRIVERS = {"postgresql": "postgresql+psycopg2"}
"""The drivers of addresses that name none, where SQLAlchemy would take one that is no extra of ours."""
EXTRAS = {"psycopg2": "ml-platform[postgres]"}


def read(source: SqlSource, use_case: UseCase, wanted: Wanted, _: Session) -> list[Delivery]:
    """Ask the database once for the whole span of the wanted partitions and cut its rows by event time.

    Rows outside of the span, or without a readable event time, come with the first partition, where the contract sends
    them to quarantine. A database that refuses is the problem of all wanted partitions.
    """
    try:
        rows = _rows(source, use_case, wanted)
    except NotDeliveredError as error:
        return [undelivered(key, str(error)) for key in wanted or [None]]
    if wanted is None:
        return [delivered(None, rows)]
    parts = by_partition(rows, use_case, wanted, undated=min(wanted), others=min(wanted))
    return [delivered(key, part) for key, part in parts.items()]


def _rows(source: SqlSource, use_case: UseCase, wanted: Wanted) -> pl.DataFrame:
    import sqlalchemy

    address = os.environ.get(source.address_variable)
    if not address:
        raise NotDeliveredError(
            f"the environment variable {source.address_variable} is not set; set it to the database's address, such as "
            "postgresql://user:password@host/database."
        )
    try:
        url = sqlalchemy.make_url(address)
        url = url.set(drivername=DRIVERS.get(url.drivername, url.drivername))
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, hide_parameters=True)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise NotDeliveredError(
            f"what {source.address_variable} holds is no SQLAlchemy address; write it like "
            "postgresql://user:password@host/database."
        ) from None
    except ImportError as error:
        missing = EXTRAS.get(str(error.name), f"the package {error.name}")
        raise NotDeliveredError(f"the driver of {url.get_backend_name()} is not there; install {missing}.") from error
    try:
        return retried(lambda: _asked(engine, *_statement(engine, source, use_case, wanted)))
    except (sqlalchemy.exc.SQLAlchemyError, ValueError, OverflowError) as error:
        said = _without_secrets(str(getattr(error, "orig", None) or error), url)
        raise NotDeliveredError(
            f"the database of {source.address_variable} refused: {said}; check the query, or let the database in."
        ) from None
    finally:
        engine.dispose()


def _without_secrets(text: str, url: "URL") -> str:
    """The first line of an error without the address's password, however it is written."""
    said = text.strip().splitlines()[0].rstrip(".")
    for secret in (url.render_as_string(hide_password=False), str(url.password or ""), quote_plus(str(url.password))):
        said = said.replace(secret, "***") if url.password and secret else said
    return said


def _statement(
    engine: "Engine", source: SqlSource, use_case: UseCase, wanted: Wanted
) -> tuple["TextClause", Mapping[str, Any]]:
    """What to ask the database, and the window of the wanted partitions as its parameters."""
    import sqlalchemy

    quote = engine.dialect.identifier_preparer.quote
    if source.query is None:
        query = "select * from " + ".".join(quote(part) for part in str(source.table).split("."))  # noqa: S608 - quoted
    else:
        query = source.query.strip().rstrip(";")
    if wanted is None:
        return sqlalchemy.text(query), {}
    own = sqlalchemy.text(query).compile().params
    if "start" not in own and "end" not in own:
        time = quote(str(use_case.contract.event_time))
        within = f"{time} >= :start and {time} < :end"
        definition = data_partitions(use_case)
        if definition and definition.get_first_partition_key() in wanted:
            within += f" or {time} is null"  # each row is delivered once
        query = f"select * from ({query}) as source where {within}"  # noqa: S608 - the person's own query
        own = dict.fromkeys(("start", "end"))
    window = {
        "start": min(one.start for one in wanted.values()),
        "end": max(one.end for one in wanted.values()),
    }
    if engine.dialect.name == "sqlite":  # which compares text: a day comes before all of its times, however written
        return sqlalchemy.text(query), {name: f"{moment.date()}" for name, moment in window.items() if name in own}
    return sqlalchemy.text(query), {name: moment for name, moment in window.items() if name in own}


def _asked(engine: "Engine", statement: "TextClause", window: Mapping[str, Any]) -> pl.DataFrame:
    """The rows of a statement, fetched batch by batch."""
    with engine.connect() as connection:
        _speak_utc(connection)
        result = connection.execution_options(stream_results=True).execute(statement, window)
        names = list(result.keys())
        if twice := [name for number, name in enumerate(names) if name in names[:number]]:
            raise NotDeliveredError(f"the query gives the column '{twice[0]}' twice; name each column once.")
        frames = [pl.DataFrame(schema=dict.fromkeys(names, pl.Null))]
        frames += [pl.DataFrame(list(_columns(names, rows))) for rows in result.partitions(ROWS_AT_ONCE)]
    return concatenated(frames, "the rows of the database")


def _speak_utc(connection: "Connection") -> None:
    """Let the database compare and give moments with a time zone in UTC, as all event times are."""
    import sqlalchemy

    if connection.dialect.name == "postgresql":
        connection.execute(sqlalchemy.text("set time zone 'UTC'"))


def _columns(names: Sequence[str], rows: Sequence[Any]) -> Iterator[pl.Series]:
    """The columns of some rows; values of different types, or of one that polars has not, are text."""
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        values = [_plain(value) for value in column]
        types = {type(value) for value in values} - {type(None)}
        if len(types) > 1:
            values = [None if value is None else str(value) for value in values]
        yield pl.Series(name, values)


def _plain(value: Any) -> Any:
    """A value of a driver as one of the types that a dataframe has; moments with a time zone in UTC."""
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC).replace(tzinfo=None)
    if value is None or type(value) in KEPT:
        return value
    if isinstance(value, memoryview | bytearray):
        return bytes(value)
    if isinstance(value, list | dict):
        return json.dumps(value, default=str, ensure_ascii=False)
    # a decimal too: as a number it would be rounded, or be of another type in each batch
    return format(value, "f") if isinstance(value, Decimal) and value.is_finite() else str(value)
