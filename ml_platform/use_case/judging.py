"""The blocks about judging: what an evaluation looks at, the gates of a model, and checks on rows of a user's own."""

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from ml_platform.blocks import Argument, Block, Reference, refuse
from ml_platform.use_case.words import PLATFORM_CHECKS, CheckedStage

Opponent = Literal["champion", "linear", "prior"]
CONDITIONS = ("at_least", "at_most", "no_worse_than", "better_than")


class Behaviour(Block):
    """How the model's score must behave when one column of a row changes and all others stay as they are."""

    invariant_to: str | None = Field(
        default=None, description="The score does not depend on this feature: another row's value changes nothing."
    )
    increases_with: str | None = Field(
        default=None, description="The score never falls when this feature, a number, rises."
    )
    decreases_with: str | None = Field(
        default=None, description="The score never rises when this feature, a number, rises."
    )
    tolerance: float = Field(
        default=1e-9, ge=0, allow_inf_nan=False, description="By how much the score may move against the rule."
    )
    rows_at_most: float = Field(
        default=0.0, ge=0, le=1, description="The greatest share of rows, from 0 to 1, whose score may break the rule."
    )

    @model_validator(mode="after")
    def _check_one_rule(self) -> Self:
        if len(self._given()) != 1:
            refuse("Behaviour", [], "give exactly one of invariant_to, increases_with and decreases_with.", None)
        return self

    def _given(self) -> list[str]:
        rules = ("invariant_to", "increases_with", "decreases_with")
        return [rule for rule in rules if getattr(self, rule) is not None]

    @property
    def rule(self) -> str:
        """Which of the three rules it is."""
        return self._given()[0]

    @property
    def column(self) -> str:
        """The feature that the rule is about."""
        return str(getattr(self, self.rule))

    @property
    def name(self) -> str:
        """The rule's asset check, such as `increases_with_amount`."""
        return re.sub(r"[^A-Za-z0-9_]", "_", f"{self.rule}_{self.column}")


class Latency(Block):
    """How long a prediction may take on one core of the machine that evaluates, the median of several."""

    one_row_ms: float | None = Field(default=None, gt=0, description="One row, in milliseconds.")
    thousand_rows_ms: float | None = Field(default=None, gt=0, description="A thousand rows at once, in milliseconds.")


class Evaluation(Block):
    """What a model is looked at for, besides its metrics on the whole hold-out."""

    slices: list[str] = Field(
        default_factory=list,
        description="Columns of the contract or features whose values cut the hold-out into slices, each with its own "
        "metrics; numbers with many values are cut at their quartiles.",
    )
    slice_rows: int = Field(
        default=100, ge=10, description="The least number of rows of a slice; smaller ones are not judged."
    )
    behaviour: list[Behaviour] = Field(default_factory=list, description="How the model's score must behave.")
    latency: Latency = Field(default_factory=Latency, description="How long a prediction may take.")

    @field_validator("slices")
    @classmethod
    def _check_slices_differ(cls, slices: list[str]) -> list[str]:
        for index, name in enumerate(slices):
            if name in slices[:index]:
                refuse("Evaluation", [index], f"the column '{name}' stands twice; keep one.", name)
        return slices


class Gate(Block):
    """A condition on the hold-out that a model must meet to become champion.

    It is judged on the bound of the 95 % interval, not on the point.
    """

    metric: str = Field(description="The metric's name.")
    at_least: float | None = Field(default=None, allow_inf_nan=False, description="The least value allowed.")
    at_most: float | None = Field(default=None, allow_inf_nan=False, description="The greatest value allowed.")
    no_worse_than: Opponent | None = Field(
        default=None, description="The model that this one must not be worse than by `margin`, on the same rows."
    )
    better_than: Opponent | None = Field(
        default=None, description="The model that this one must be better than by `margin`, on the same rows."
    )
    margin: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="In units of the metric: the loss that `no_worse_than` lets pass, or the gain that `better_than` "
        "asks for (0 by default).",
    )
    of: Literal["all_rows", "worst_slice"] = Field(
        default="all_rows",
        description="Which rows: all of them, or each slice of `evaluation.slices`. A slice fails where it is surely "
        "on the wrong side, with the interval widened for the number of slices.",
    )

    @model_validator(mode="after")
    def _check_one_condition(self) -> Self:
        given = [name for name in CONDITIONS if getattr(self, name) is not None]
        if len(given) != 1:
            message = "a gate has exactly one of at_least, at_most, no_worse_than and better_than."
            refuse("Gate", ["metric"], message, self.metric)
        compares = self.opponent is not None
        if self.no_worse_than and not self.margin:
            message = "no model is surely not worse at all; write the loss that may pass, such as margin: 0.01."
            refuse("Gate", ["margin"], message, self.margin)
        if self.margin is not None and not compares:
            refuse("Gate", ["margin"], "a margin belongs to no_worse_than or better_than; remove it.", self.margin)
        if self.of == "worst_slice" and compares:
            refuse("Gate", ["of"], "slices are judged by at_least or at_most only.", self.of)
        return self

    def mistake_in(self, values: tuple[float, float]) -> tuple[str, str] | None:
        """The field that lets every model pass or none, and a sentence on it, or None.

        `values` are the least and the greatest that the metric can take.
        """
        least, greatest = values
        never, always = "so no model meets this gate; write", "so every model meets this gate; write"
        if self.at_least is not None and self.at_least > greatest:
            return "at_least", f"{self.metric} is at most {greatest:g}, {never} a smaller value."
        if self.at_least is not None and self.at_least <= least:
            return "at_least", f"{self.metric} is never below {least:g}, {always} a greater value, or remove it."
        if self.at_most is not None and self.at_most < least:
            return "at_most", f"{self.metric} is never below {least:g}, {never} a greater value."
        if self.at_most is not None and self.at_most >= greatest:
            return "at_most", f"{self.metric} is at most {greatest:g}, {always} a smaller value, or remove it."
        if self.margin is not None and self.margin >= greatest - least:
            meets = never if self.better_than else always
            return "margin", f"{self.metric} differs by at most {greatest - least:g}, {meets} a smaller margin."
        return None

    @property
    def condition(self) -> str:
        """Which of the four conditions it is."""
        return next(name for name in CONDITIONS if getattr(self, name) is not None)

    @property
    def opponent(self) -> Opponent | None:
        """The model that it compares with, or None."""
        return self.no_worse_than or self.better_than

    @property
    def name(self) -> str:
        """The gate's asset check, such as `roc_auc_at_least`."""
        parts = [self.metric, self.condition, self.opponent, "worst_slice" if self.of == "worst_slice" else None]
        return "_".join(part for part in parts if part)


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
