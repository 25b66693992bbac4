"""The data in its types: what each column is, and which columns are not read."""

from dataclasses import dataclass, replace

import polars as pl

from ml_platform.errors import UserError
from ml_platform.ml.contract import coerce
from ml_platform.onboarding.columns import Found, columns_of
from ml_platform.onboarding.plan import Choices
from ml_platform.onboarding.tasks import FEWEST_ROWS
from ml_platform.references import did_you_mean
from ml_platform.use_case import Contract
from ml_platform.use_case.words import RESERVED


@dataclass(frozen=True)
class Data:
    """Data as read and in its types, with what each column is and why others are not read."""

    raw: pl.DataFrame
    typed: pl.DataFrame
    found: dict[str, Found]
    not_read: dict[str, str]


def typed_data(raw: pl.DataFrame, choices: Choices) -> Data:
    """The data in the types that its columns have.

    Raises:
        UserError: there are too few rows, a chosen column is not there, or a date can be read in two ways.
    """
    if raw.height < FEWEST_ROWS:
        raise UserError(f"the data has {raw.height} rows; a model needs {FEWEST_ROWS} at least.")
    for option, name in (
        ("--time", choices.time),
        ("--entity", choices.entity),
        *(("--key", one) for one in choices.key),
    ):
        if name is not None and name not in raw.columns:
            raise UserError(f"{option} {name}: the data has no such column; {did_you_mean(name, raw.columns)}")
    refused = {
        name: "has a name that the platform keeps for itself" for name in raw.columns if RESERVED.fullmatch(name)
    }
    spelled: dict[str, str] = {}
    for name in raw.columns:
        if (other := spelled.setdefault(name.lower(), name)) != name:
            refused[name] = f"differs from {other} in case only"
    found = {name: one for name, one in columns_of(raw, choices.date_format).items() if name not in refused}
    not_read = {
        name: f"{refused[name]}; rename it in the source"
        if name in refused
        else "has no value"
        if raw[name].null_count() == raw.height
        else "has values that make no column"
        for name in raw.columns
        if name not in found
    }
    bare = {name: {"type": one.type, "format": one.format} for name, one in found.items()}
    typed = coerce(raw, Contract.model_validate({"key": [next(iter(bare))], "columns": bare})).select(*bare)
    return Data(raw, typed, found, not_read)


def with_time(data: Data, column: str | None) -> Data:
    """The data with its event time as a datetime, which a date is not."""
    if column is None:
        return data
    found = data.found | {column: replace(data.found[column], type="datetime")}
    return replace(data, found=found, typed=data.typed.with_columns(pl.col(column).cast(pl.Datetime("us"))))
