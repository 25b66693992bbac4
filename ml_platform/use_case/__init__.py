"""The vocabulary of a use case: the blocks of its YAML file and the words for stages, tasks and metrics."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from ml_platform.blocks import Block, refuse
from ml_platform.references import did_you_mean
from ml_platform.use_case.alerting import CONSOLE, Alerting, Kind
from ml_platform.use_case.automation import Automation
from ml_platform.use_case.data import (
    Bound,
    Column,
    Contract,
    Features,
    Label,
    Partitions,
    Volume,
)
from ml_platform.use_case.failures import (
    CodeFailures,
    DataFailures,
    FailureClass,
    Failures,
    Limit,
    ResourceFailures,
    TransientFailures,
)
from ml_platform.use_case.judging import Behaviour, Check, Evaluation, Gate, Latency
from ml_platform.use_case.modelling import DEFAULT_PARAMS, Leakage, Model, Range, Search, ThresholdRule
from ml_platform.use_case.monitoring import Drift, Monitoring, Performance, Retraining
from ml_platform.use_case.sources import AssetSource, FilesSource, PythonSource, Source, SourceBlock, SqlSource
from ml_platform.use_case.words import (
    METRIC_RANGES,
    METRICS,
    PLATFORM_CHECKS,
    PYTHON_TYPES,
    SEVERITIES,
    STAGES,
    Cadence,
    CheckedStage,
    ColumnType,
    Severity,
    Stage,
    Task,
)

__all__ = [
    "CONSOLE",
    "METRICS",
    "METRIC_RANGES",
    "PLATFORM_CHECKS",
    "SEVERITIES",
    "STAGES",
    "Alerting",
    "AssetSource",
    "Automation",
    "Behaviour",
    "Bound",
    "Cadence",
    "Check",
    "CheckedStage",
    "CodeFailures",
    "Column",
    "ColumnType",
    "Contract",
    "DataFailures",
    "Drift",
    "Evaluation",
    "FailureClass",
    "Failures",
    "Features",
    "FilesSource",
    "Gate",
    "Kind",
    "Label",
    "Latency",
    "Leakage",
    "Limit",
    "Model",
    "Monitoring",
    "Partitions",
    "Performance",
    "PythonSource",
    "Range",
    "Registry",
    "ResourceFailures",
    "Retraining",
    "Search",
    "Severity",
    "Source",
    "SourceBlock",
    "SqlSource",
    "Stage",
    "Task",
    "ThresholdRule",
    "TransientFailures",
    "UseCase",
    "Volume",
]


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
    model: Model = Field(default_factory=Model, description="How a model is trained.")
    evaluation: Evaluation = Field(default_factory=Evaluation, description="What a model is looked at for.")
    gates: list[Gate] = Field(default_factory=list, description="What a model must meet to become champion.")
    checks: list[Check] = Field(
        default_factory=list, description="Conditions of your own on the rows, besides the contract."
    )
    monitoring: Monitoring = Field(default_factory=Monitoring, description="What is watched after a prediction.")
    registry: Registry = Field(description="Where versions of the model are kept.")
    alerts: Alerting = Field(default_factory=Alerting, description="Who is told when something goes wrong.")
    automation: Automation = Field(default_factory=Automation, description="When it runs by itself.")
    failures: Failures = Field(default_factory=Failures, description="What is done when a stage fails.")
    limits: dict[Stage, Limit] = Field(
        default_factory=dict, description="What stages may take, by the stage; those without a limit are not watched."
    )

    @property
    def windows(self) -> Partitions | None:
        """The partitions, or None for data that is not cut by time."""
        return None if self.partitions == "none" else self.partitions

    @property
    def estimator(self) -> str:
        """The import path of the model's estimator: the declared one, or the default of the task."""
        kind = "Regressor" if self.task == "regression" else "Classifier"
        return self.model.estimator or f"sklearn.ensemble.HistGradientBoosting{kind}"

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the estimator: the declared ones, before those of the default estimator."""
        return {**({} if self.model.estimator else DEFAULT_PARAMS), **self.model.params}

    @field_validator("limits")
    @classmethod
    def _check_stages_can_be_ended(cls, limits: dict[Stage, Limit]) -> dict[Stage, Limit]:
        why: dict[Stage, str] = {
            "quarantine": "quarantine is made with validated_data; limit that.",
            "promotion": "promotion moves the champion, which is not cut off half-way; limit model and evaluation.",
        }
        for stage, message in why.items():
            if stage in limits:
                refuse("UseCase", [stage], message, limits[stage])
        return limits

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
        if self.contract.entity is not None and label == self.contract.entity:
            refuse("UseCase", ["contract", "entity"], f"'{label}' is the label, not an entity.", label)
        if label in (self.features.columns or ()):
            at: list[str | int] = ["features", "columns", (self.features.columns or []).index(label)]
            refuse("UseCase", at, f"the label '{label}' is not known when a prediction is made.", label)
        if label in self.evaluation.slices:
            at = ["evaluation", "slices", self.evaluation.slices.index(label)]
            refuse("UseCase", at, f"'{label}' is the label; a slice of one label tells nothing, remove it.", label)
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
    def _check_positive(self) -> Self:
        label, positive = self.label.column, self.label.positive
        if positive is None:
            return self
        column = self.contract.columns[label]
        if self.task != "binary_classification":
            message = f"a positive value belongs to binary_classification; {self.task} has none. Remove it."
            refuse("UseCase", ["label", "positive"], message, positive)
        if not isinstance(positive, fitting := PYTHON_TYPES[column.type]) or (
            isinstance(positive, bool) and bool not in fitting
        ):
            message = (
                f"{positive!r} is no value of '{label}', which is {column.type}; write one as the data has it, text in "
                "quotes."
            )
            refuse("UseCase", ["label", "positive"], message, positive)
        if column.one_of is not None and positive not in column.one_of:
            message = f"'{label}' is never {positive!r}; write one of {', '.join(map(repr, column.one_of))}."
            refuse("UseCase", ["label", "positive"], message, positive)
        return self

    @field_validator("evaluation")
    @classmethod
    def _check_behaviours_differ(cls, evaluation: Evaluation) -> Evaluation:
        names = [one.name for one in evaluation.behaviour]
        for index, name in enumerate(names):
            if name in names[:index]:
                message = f"this rule stands twice; keep one '{name}'."
                refuse("UseCase", ["behaviour", index], message, name)
        return evaluation

    @model_validator(mode="after")
    def _check_gates_fit(self) -> Self:
        for index, gate in enumerate(self.gates):
            if gate.of == "worst_slice" and not self.evaluation.slices:
                message = "there are no slices; name their columns in evaluation.slices."
                refuse("UseCase", ["gates", index, "of"], message, gate.of)
            if gate.metric not in METRICS[self.task]:
                message = (
                    f"{self.task} has no metric '{gate.metric}'; {did_you_mean(gate.metric, list(METRICS[self.task]))}"
                )
                refuse("UseCase", ["gates", index, "metric"], message, gate.metric)
            if mistake := gate.mistake_in(METRIC_RANGES[gate.metric]):
                refuse("UseCase", ["gates", index, mistake[0]], mistake[1], getattr(gate, mistake[0]))
        return self

    @model_validator(mode="after")
    def _check_model_fits_task(self) -> Self:
        model = self.model
        # as JSON a model has the default too
        if model.threshold != Model.model_fields["threshold"].default and self.task != "binary_classification":
            message = f"a threshold belongs to binary_classification; {self.task} has none. Remove it."
            refuse("UseCase", ["model", "threshold"], message, None)
        if model.search and model.search.metric and model.search.metric not in METRICS[self.task]:
            metric = model.search.metric
            message = f"{self.task} has no metric '{metric}'; {did_you_mean(metric, list(METRICS[self.task]))}"
            refuse("UseCase", ["model", "search", "metric"], message, metric)
        if model.refit and self.windows is None:
            message = (
                "without partitions a champion that was trained once more has seen the rows that the next models are "
                "judged on; remove refit, or set partitions."
            )
            refuse("UseCase", ["model", "refit"], message, model.refit)
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
