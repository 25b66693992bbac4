"""The blocks about data: partitions, the contract, features and the label."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Self

import polars as pl
from pydantic import Field, model_validator

from ml_platform.blocks import Block, Duration, Reference, Scalar, Share, one_error, refuse
from ml_platform.references import did_you_mean
from ml_platform.use_case.sources import FilesSource
from ml_platform.use_case.words import PYTHON_TYPES, RESERVED, SCORES, Cadence, ColumnType

Bound = Annotated[
    int | Annotated[float, Field(allow_inf_nan=False)] | date, one_error("a number or a date such as 2018-04-01")
]


class Partitions(Block):
    """How the data is cut into partitions by event time."""

    every: Cadence = Field(description="The length of one partition.")
    start: date = Field(description="The first partition's first day.")
    end: date | None = Field(
        default=None, description="The day after the last partition; without it partitions go on up to the present."
    )

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.end and self.end <= self.start:
            refuse("Partitions", ["end"], f"the end {self.end} is not after the start {self.start}.", self.end)
        if (self.every == "week" and self.start.weekday()) or (self.every == "month" and self.start.day > 1):
            first = "on a Monday" if self.every == "week" else "on the first of a month"
            refuse("Partitions", ["start"], f"a {self.every} begins {first}, {self.start} is none.", self.start)
        return self


def moments(text: pl.Expr, form: str) -> pl.Expr:
    """Text in a format of strptime as datetimes, null where it does not fit; those with a time zone in UTC."""
    if "%z" in form or "%#z" in form:
        zoned = text.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False)
        return zoned.dt.replace_time_zone(None)
    return text.str.to_datetime(form, time_unit="us", strict=False)


class Column(Block):
    """What one column of the data must be."""

    type: ColumnType = Field(
        description="The type; values of other types are coerced, what cannot be goes to quarantine."
    )
    nullable: bool = Field(default=True, description="Whether values may be missing.")
    min: Bound | None = Field(default=None, description="The least value allowed.")
    max: Bound | None = Field(default=None, description="The greatest value allowed.")
    one_of: list[Scalar] | None = Field(default=None, description="The only values allowed.")
    matches: str | None = Field(default=None, description="A regular expression that the whole text must match.")
    format: str | None = Field(
        default=None,
        description="How the text of a datetime or date is written, as in strptime; without it as in ISO 8601.",
        examples=["%d/%m/%Y %H:%M"],
    )

    @model_validator(mode="after")
    def _check_rules_fit_type(self) -> Self:
        numeric, temporal = self.type in {"int64", "float64"}, self.type in {"datetime", "date"}
        for rule in ("min", "max"):
            bound = getattr(self, rule)
            if bound is not None and not (temporal if isinstance(bound, date) else numeric):
                refuse("Column", [rule], f"{rule} {bound!r} does not fit a column of type {self.type}.", bound)
        if self.matches is not None and self.type != "string":
            refuse(
                "Column", ["matches"], f"only a string can match a pattern, this column is {self.type}.", self.matches
            )
        if self.min is not None and self.max is not None and self.min > self.max:  # type: ignore[operator]
            refuse("Column", ["max"], f"no value is at least {self.min} and at most {self.max}.", self.max)
        self._check_choices()
        self._check_pattern()
        self._check_format()
        return self

    def _check_choices(self) -> None:
        fitting = PYTHON_TYPES[self.type]
        for choice in self.one_of or ():
            if not isinstance(choice, fitting) or (isinstance(choice, bool) and bool not in fitting):
                refuse("Column", ["one_of"], f"{choice!r} does not fit a column of type {self.type}.", choice)
        if self.one_of == []:
            refuse("Column", ["one_of"], "there is no value to choose from; write at least one.", self.one_of)

    def _check_pattern(self) -> None:
        if self.matches is not None:
            try:
                pl.Series([""]).str.contains(f"^(?:{self.matches})$")
            except pl.exceptions.ComputeError as error:
                reason = str(error).rpartition("error: ")[2]
                refuse("Column", ["matches"], f"'{self.matches}' is no regular expression: {reason}.", self.matches)

    def _check_format(self) -> None:
        if self.format is None:
            return
        if self.type not in {"datetime", "date"}:
            message = f"only a datetime or a date has a format, this column is {self.type}."
            refuse("Column", ["format"], message, self.format)
        day = datetime(2018, 11, 23)
        sample = pl.select(pl.lit(day).dt.replace_time_zone("UTC")).to_series()
        try:
            again = pl.select(moments(pl.lit(sample.dt.strftime(self.format)), self.format)).item()
        except pl.exceptions.PolarsError:
            again = None
        if again is None or (again.year, again.month) != (day.year, day.month):
            message = f"'{self.format}' names no day; write it like '%d/%m/%Y %H:%M', in the words of strptime."
            refuse("Column", ["format"], message, self.format)


class Volume(Block):
    """How many validated rows a partition may have; one that has fewer or more is not published."""

    at_least: int | None = Field(default=None, ge=1, description="The least number of rows allowed.")
    at_most: int | None = Field(default=None, ge=1, description="The greatest number of rows allowed.")
    of_usual: Share | None = Field(
        default=None,
        description="How close the number must be to the usual one: `50%` allows from half of it to twice it. The "
        "usual number is the median of the last 28 published partitions before; with fewer than 7 it is not judged.",
    )

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.at_least is None and self.at_most is None and self.of_usual is None:
            refuse("Volume", [], "no bound is given; write at_least, at_most or of_usual.", None)
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            message = f"no number is at least {self.at_least} and at most {self.at_most}."
            refuse("Volume", ["at_most"], message, self.at_most)
        if self.of_usual == 0:
            refuse("Volume", ["of_usual"], "0% allows any number of rows; write more, such as '50%', or remove it.", 0)
        return self


class Contract(Block):
    """What the data must be; rows that are not go to quarantine, each with the rules it breaks."""

    key: list[str] = Field(min_length=1, description="The columns that name a row; a repeated key goes to quarantine.")
    event_time: str | None = Field(
        default=None, description="The datetime column that says when a row happened; needed with `partitions`."
    )
    entity: str | None = Field(
        default=None,
        description="The column of what several rows belong to, such as a customer. Rows of one are not independent: "
        "intervals draw entities whole, and without partitions an entity is held out whole.",
    )
    columns: dict[str, Column] = Field(min_length=1, description="The columns by name. Others are not read.")
    quarantine_at_most: Share = Field(
        default=0.02,
        description="The greatest share of a partition's rows in quarantine; above it nothing is published.",
    )
    duplicates_at_most: Share | None = Field(
        default=None,
        description="The greatest share of a partition's raw rows that repeat the key of a row before them; above it "
        "nothing is published. Without it they count like all others in quarantine.",
    )
    volume: Volume | None = Field(
        default=None, description="How many validated rows a partition may have; without it any number."
    )

    @model_validator(mode="after")
    def _check_duplicates_are_reached(self) -> Self:
        given, limit = self.duplicates_at_most, self.quarantine_at_most
        if given is not None and given > limit:
            message = (
                f"repeated keys count in quarantine_at_most too, which is {100 * limit:g}%; write less, or raise it."
            )
            refuse("Contract", ["duplicates_at_most"], message, given)
        return self

    @model_validator(mode="after")
    def _check_names_differ(self) -> Self:
        spelled: dict[str, str] = {}
        for name in self.columns:
            if (other := spelled.setdefault(name.lower(), name)) != name:
                message = (
                    f"'{name}' and '{other}' differ in case only, which a table cannot hold; rename one at the source."
                )
                refuse("Contract", ["columns", name], message, name)
        return self

    @model_validator(mode="after")
    def _check_columns_exist(self) -> Self:
        for name in self.columns:
            if RESERVED.fullmatch(name):
                refuse(
                    "Contract", ["columns", name], f"no column may be called '{name}'; rename it in the source.", name
                )
        for index, name in enumerate(self.key):
            self.require(name, "Contract", ["key", index])
            if name in SCORES:
                message = f"no key may be called '{name}', which is a column of scores; rename it in the source."
                refuse("Contract", ["key", index], message, name)
            if name in self.key[:index]:
                refuse("Contract", ["key", index], f"the column '{name}' is in the key twice.", name)
        if self.entity is not None:
            self.require(self.entity, "Contract", ["entity"])
        if self.event_time is not None:
            self.require(self.event_time, "Contract", ["event_time"])
            if self.columns[self.event_time].type != "datetime":
                message = (
                    f"the event time must be a datetime, '{self.event_time}' is {self.columns[self.event_time].type}."
                )
                refuse("Contract", ["event_time"], message, self.event_time)
        return self

    @property
    def identity(self) -> list[str]:
        """The columns that name a row among those of all partitions: the key and the event time."""
        return list(dict.fromkeys([*self.key, *([self.event_time] if self.event_time else [])]))

    def require(self, column: str, title: str, at: Sequence[str | int]) -> None:
        """Refuse the field at `at` if the contract has no such column."""
        if column not in self.columns:
            refuse(
                title, at, f"the contract has no column '{column}'; {did_you_mean(column, list(self.columns))}", column
            )


class Features(Block):
    """How features are computed from validated data."""

    transform: Reference | None = Field(
        default=None,
        description="A pure function of the validated rows, called as `transform(rows)` on a whole range of partitions "
        "and the lookback before it. It returns the key, the event time, the label and the features, one row for each "
        "row given; annotate `pandas.DataFrame`, `polars.DataFrame`, `polars.LazyFrame` or `pyarrow.Table`. Without it "
        "the validated columns are the features.",
    )
    inputs: dict[str, FilesSource] = Field(
        default_factory=dict,
        description="Further tables for the transform, such as `weather: {type: files, path: data/weather.csv, "
        "format: csv}`. Each is read whole and given by its name, as `transform(rows, weather=...)`, in the type of "
        "`rows`; the columns of CSV are text. When a file changes, all features are computed again.",
    )
    lookback: Duration = Field(default=timedelta(0), description="How far before a row's time its features look.")
    columns: list[str] | None = Field(
        default=None,
        min_length=1,
        description="The features the model sees; without it all columns but key, entity, event time and label.",
    )

    @model_validator(mode="after")
    def _check_inputs(self) -> Self:
        if self.inputs and self.transform is None:
            refuse("Features", ["inputs"], "only a transform takes inputs; name it in features.transform.", None)
        for name, source in self.inputs.items():
            if not name.isidentifier():
                message = f"'{name}' can be no argument of a function; write a name such as weather."
                refuse("Features", ["inputs", name], message, name)
            if "{partition}" in source.path:
                message = "an input is read whole, for all partitions; write a path without {partition}, or with *."
                refuse("Features", ["inputs", name, "path"], message, source.path)
        return self


class Label(Block):
    """What is to be predicted."""

    column: str = Field(description="The column of the label. Rows without a label are predicted but not trained on.")
    positive: Scalar | None = Field(
        default=None,
        description="For binary_classification: the value that counts as 1, such as `Yes`; any other counts as 0. "
        "Without it the label must be 0 or 1, or a boolean, of which true is 1.",
    )
    known_after: Duration = Field(
        default=timedelta(0), description="How long after a row's event time its label is known."
    )
