"""The vocabulary of a use case: the blocks of its YAML file and the words for stages, tasks and metrics."""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated, Any, Literal, Self, get_args

import polars as pl
from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from ml_platform.blocks import Block, Duration, Reference, Share, one_error, refuse
from ml_platform.references import did_you_mean

Stage = Literal[
    "raw_data", "validated_data", "quarantine", "features", "model", "evaluation", "promotion", "predictions"
]
STAGES: tuple[Stage, ...] = get_args(Stage)
# the stages that take checks of the user's, with the platform's own
CheckedStage = Literal["raw_data", "validated_data", "features", "predictions"]
PLATFORM_CHECKS: dict[CheckedStage, tuple[str, ...]] = {
    "raw_data": ("readable",),
    "validated_data": ("contract", "volume", "duplicates"),
    "features": ("complete",),
    "predictions": ("predicted",),
}

Task = Literal["binary_classification", "multiclass_classification", "regression"]
Cadence = Literal["day", "week", "month"]
ColumnType = Literal["int64", "float64", "string", "boolean", "datetime", "date"]
Scalar = Annotated[int | float | str | bool, one_error("a number, a text, true or false")]
Argument = Annotated[Scalar | list[Scalar], one_error("a number, a text, true or false, or a list of them")]
Bound = Annotated[
    int | Annotated[float, Field(allow_inf_nan=False)] | date, one_error("a number or a date such as 2018-04-01")
]
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "int64": (int,),
    "float64": (int, float),
    "string": (str,),
    "boolean": (bool,),
    "datetime": (),
    "date": (),
}
# the platform's own columns, and what polars or a JSON path would take for a pattern
RESERVED = re.compile(r"partition|rescued|violations|__.*|\*|\^.*\$|.*[\"\\].*", re.DOTALL)

METRICS: dict[Task, tuple[str, ...]] = {
    "binary_classification": (
        "roc_auc",
        "average_precision",
        "log_loss",
        "brier_score",
        "precision",
        "recall",
        "f1",
        "accuracy",
        "balanced_accuracy",
    ),
    "multiclass_classification": ("accuracy", "balanced_accuracy", "f1_macro", "log_loss"),
    "regression": ("mean_absolute_error", "root_mean_squared_error", "r2"),
}


class PythonSource(Block):
    """A Python function that returns the rows of a window of time."""

    type: Literal["python"] = Field(description="The rows come from a Python function.")
    function: Reference = Field(
        description="The function, called as `function(start, end, **arguments)` for the half-open window [start, end) "
        "of whole partitions (as `function(**arguments)` without partitions); it returns a dataframe."
    )
    arguments: dict[str, Argument] = Field(
        default_factory=dict, description="Further keyword arguments of the function."
    )


class FilesSource(Block):
    """Files on a local or mounted disk."""

    type: Literal["files"] = Field(description="The rows come from files.")
    path: str = Field(
        description="Path or glob of the files, relative to the project's folder. With `{partition}` in it, each "
        "partition reads the files that carry its key (`2018-04-01`); without, rows are told apart by `event_time`.",
        examples=["data/{partition}.parquet"],
    )
    format: Literal["parquet", "csv", "jsonl"] = Field(description="The files' format.")


Source = Annotated[PythonSource | FilesSource, Field(discriminator="type")]


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
    def _check_columns_exist(self) -> Self:
        for name in self.columns:
            if RESERVED.fullmatch(name):
                refuse(
                    "Contract", ["columns", name], f"no column may be called '{name}'; rename it in the source.", name
                )
        for index, name in enumerate(self.key):
            self.require(name, "Contract", ["key", index])
            if name in self.key[:index]:
                refuse("Contract", ["key", index], f"the column '{name}' is in the key twice.", name)
        if self.event_time is not None:
            self.require(self.event_time, "Contract", ["event_time"])
            if self.columns[self.event_time].type != "datetime":
                message = (
                    f"the event time must be a datetime, '{self.event_time}' is {self.columns[self.event_time].type}."
                )
                refuse("Contract", ["event_time"], message, self.event_time)
        return self

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
    lookback: Duration = Field(default=timedelta(0), description="How far before a row's time its features look.")
    columns: list[str] | None = Field(
        default=None,
        min_length=1,
        description="The features the model sees; without it all columns but key, event time and label.",
    )


class Label(Block):
    """What is to be predicted."""

    column: str = Field(description="The column of the label. Rows without a label are predicted but not trained on.")
    known_after: Duration = Field(
        default=timedelta(0), description="How long after a row's event time its label is known."
    )


class Model(Block):
    """How a model is trained: one for each cutoff, on rows whose label was known by then."""

    estimator: Reference = Field(description="A scikit-learn compatible estimator by its import path.")
    params: dict[str, Any] = Field(default_factory=dict, description="The estimator's parameters.")
    every: Cadence = Field(default="week", description="How often a model is trained: the distance of two cutoffs.")
    weekday: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] = Field(
        default="monday", description="The day of weekly cutoffs."
    )
    train_on: Duration | None = Field(
        default=None,
        description="The length of the training window; it ends one label delay before the hold-out begins.",
    )
    hold_out: Duration | None = Field(
        default=None, description="The length of the hold-out window; it ends one label delay before the cutoff."
    )
    hold_out_share: Share = Field(
        default=0.25, description="Without partitions: the share of rows held out, chosen by a hash of the key."
    )
    threshold: float = Field(default=0.5, ge=0, le=1, description="The score from which a row counts as positive.")
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="The seed of everything random: training, intervals, pictures."
    )
    refit: bool = Field(
        default=False, description="Train once more, on all rows whose label was known, after the gates have passed."
    )


class Gate(Block):
    """A condition on the hold-out that a model must meet to become champion."""

    metric: str = Field(description="The metric's name.")
    at_least: float | None = Field(default=None, description="The least value allowed.")
    at_most: float | None = Field(default=None, description="The greatest value allowed.")
    no_worse_than: Literal["champion", "linear", "prior"] | None = Field(
        default=None, description="The model that must not be better, on the same rows."
    )

    @model_validator(mode="after")
    def _check_one_condition(self) -> Self:
        given = [name for name in ("at_least", "at_most", "no_worse_than") if getattr(self, name) is not None]
        if len(given) != 1:
            refuse("Gate", ["metric"], "a gate has exactly one of at_least, at_most and no_worse_than.", self.metric)
        return self

    @property
    def name(self) -> str:
        """The gate's asset check, such as `roc_auc_at_least`."""
        condition = next(name for name in ("at_least", "at_most", "no_worse_than") if getattr(self, name) is not None)
        return f"{self.metric}_{condition}" + (f"_{self.no_worse_than}" if self.no_worse_than else "")


class Check(Block):
    """A condition of your own on the rows of one partition."""

    name: str = Field(
        description="The asset check's name, unlike that of any other check of its stage.", pattern=r"^[A-Za-z0-9_]+$"
    )
    stage: CheckedStage = Field(description="The stage whose rows are judged.")
    function: Reference = Field(
        description="A pure function, called as `function(rows, **arguments)` with the rows of one partition as they "
        "would be stored. It returns None if all is well, else a sentence that says what is wrong and what to do. "
        "Annotate `rows` with `pandas.DataFrame`, `polars.DataFrame`, `polars.LazyFrame` or `pyarrow.Table`; without "
        "an annotation it is a `polars.DataFrame`."
    )
    severity: Literal["error", "warn"] = Field(
        default="error",
        description="What a failure does: with `error` the partition is not published, with `warn` it is, and the "
        "check shows a warning.",
    )
    arguments: dict[str, Argument] = Field(
        default_factory=dict, description="Further keyword arguments of the function."
    )

    @model_validator(mode="after")
    def _check_name_is_free(self) -> Self:
        if self.name in PLATFORM_CHECKS[self.stage]:
            message = f"{self.stage} has a check '{self.name}' of the platform's; choose another name."
            refuse("Check", ["name"], message, self.name)
        return self


class Registry(Block):
    """Where versions of the model are kept."""

    name: str = Field(description="The registered model's name in MLflow.", pattern=r"^[\w.-]+$|^\{\{.*\}\}$")


class UseCase(Block):
    """One machine-learning use case: from a source of raw data to a champion model and its predictions."""

    name: str = Field(
        description="The use case's name: the first part of its asset keys.", pattern=r"^[a-z][a-z0-9_]*$"
    )
    description: str = Field(default="", description="What it is for, in a sentence.")
    task: Task = Field(description="What kind of prediction it makes.")
    owners: list[str] = Field(
        default_factory=list, description="Who answers for it: e-mail addresses or `team:name`.", examples=["team:risk"]
    )
    source: Source = Field(description="Where raw data comes from.")
    partitions: Annotated[Partitions, Tag("windows")] | Annotated[Literal["none"], Tag("none")] = Field(
        description="How the data is cut by event time, or `none`.",
        discriminator=Discriminator(lambda value: "none" if isinstance(value, str) else "windows"),
    )
    contract: Contract = Field(description="What the data must be.")
    features: Features = Field(default_factory=Features, description="How features are computed.")
    label: Label = Field(description="What is to be predicted.")
    model: Model = Field(description="How a model is trained.")
    gates: list[Gate] = Field(default_factory=list, description="What a model must meet to become champion.")
    checks: list[Check] = Field(
        default_factory=list, description="Conditions of your own on the rows, besides the contract."
    )
    registry: Registry = Field(description="Where versions of the model are kept.")

    @property
    def windows(self) -> Partitions | None:
        """The partitions, or None for data that is not cut by time."""
        return None if self.partitions == "none" else self.partitions

    @field_validator("gates")
    @classmethod
    def _check_gates_differ(cls, gates: list[Gate]) -> list[Gate]:
        names = [gate.name for gate in gates]
        for index, name in enumerate(names):
            if name in names[:index]:
                refuse("UseCase", [index], f"this gate stands twice; keep one '{name}'.", name)
        return gates

    @field_validator("checks")
    @classmethod
    def _check_checks_differ(cls, checks: list[Check]) -> list[Check]:
        names = [(check.stage, check.name) for check in checks]
        for index, (stage, name) in enumerate(names):
            if (stage, name) in names[:index]:
                message = f"{stage} has two checks '{name}'; choose another name."
                refuse("UseCase", [index, "name"], message, name)
        return checks

    @model_validator(mode="after")
    def _check_blocks_fit_together(self) -> Self:
        label = self.label.column
        self.contract.require(label, "UseCase", ["label", "column"])
        if label in {*self.contract.key, self.contract.event_time}:
            refuse("UseCase", ["label", "column"], f"'{label}' is the key or the event time, not a label.", label)
        if label in (self.features.columns or ()):
            at: list[str | int] = ["features", "columns", (self.features.columns or []).index(label)]
            refuse("UseCase", at, f"the label '{label}' is not known when a prediction is made.", label)
        for index, gate in enumerate(self.gates):
            if gate.metric not in METRICS[self.task]:
                message = (
                    f"{self.task} has no metric '{gate.metric}'; {did_you_mean(gate.metric, list(METRICS[self.task]))}"
                )
                refuse("UseCase", ["gates", index, "metric"], message, gate.metric)
        if self.windows is not None:
            if self.contract.event_time is None:
                message = (
                    "partitions need the contract's event_time; name its datetime column, or set partitions: none."
                )
                refuse("UseCase", ["contract"], message, None)
            for field in ("train_on", "hold_out"):
                if not getattr(self.model, field):
                    refuse("UseCase", ["model"], f"with partitions the model needs '{field}', such as '7 days'.", None)
        return self

    @model_validator(mode="after")
    def _check_what_needs_partitions(self) -> Self:
        if self.windows is None and self.features.lookback:
            message = "a lookback needs partitions; remove it, or set partitions."
            refuse("UseCase", ["features", "lookback"], message, str(self.features.lookback))
        if self.windows is None and self.contract.volume and self.contract.volume.of_usual is not None:
            message = "the usual number of rows needs partitions; remove it, or set partitions."
            refuse("UseCase", ["contract", "volume", "of_usual"], message, self.contract.volume.of_usual)
        return self
