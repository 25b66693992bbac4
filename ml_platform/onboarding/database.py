"""Rows of a database, for a first look at them."""

import os
from typing import Any

import polars as pl

from ml_platform.errors import UserError
from ml_platform.use_case import SqlSource


def query_rows(variable: str, table: str | None, query: str | None) -> tuple[SqlSource, pl.DataFrame]:
    """The source of a table or query of the database whose address an environment variable holds, and its rows.

    Raises:
        UserError: the variable is not set, not exactly one of table and query is given, or the database refuses.
    """
    import sqlalchemy as sa

    if (table is None) == (query is None):
        raise UserError("give either --table or --query with --address-variable.")
    if not (address := os.environ.get(variable)):
        raise UserError(f"the environment variable {variable} is not set; set it to the database's SQLAlchemy address.")
    try:
        engine = sa.create_engine(address)
        chosen: Any = sa.text(query) if query else sa.select(sa.text("*")).select_from(sa.table(str(table)))
        with engine.connect() as connection:
            rows = pl.read_database(chosen, connection, infer_schema_length=None)
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        raise UserError(f"the database of {variable} cannot be read: {reason}.") from error
    return SqlSource(type="sql", address_variable=variable, table=table, query=query), rows
