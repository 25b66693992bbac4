"""The blocks about models: how one is trained, tuned, kept from leaks, and when a score counts as positive."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from ml_platform.blocks import Block, Duration, Reference, Scalar, Share, one_error, refuse, without_tag
from ml_platform.use_case.words import Cadence

Number = Annotated[int | Annotated[float, Field(allow_inf_nan=False)], one_error("a number")]

# measured, see docs/models.md; early stopping would keep a random tenth of the rows from being learned
DEFAULT_PARAMS: Mapping[str, Any] = {
    "learning_rate": 0.06,
    "max_iter": 150,
    "max_leaf_nodes": 15,
    "min_samples_leaf": 20,
    "max_features": 0.5,
    "l2_regularization": 5.0,
    "early_stopping": False,
}


class Costs(Block):
    """What a wrong decision costs, in any unit."""

    false_positive: float = Field(gt=0, allow_inf_nan=False, description="What it costs to call a negative positive.")
    false_negative: float = Field(gt=0, allow_inf_nan=False, description="What it costs to miss a positive.")


class ThresholdRule(Block):
    """How the decision threshold is chosen: on rows that the model scored without having been trained on them.

    They are the last part of the training window, never the hold-out; the threshold is stored with the model.
    """

    precision_at_least: Share | None = Field(
        default=None, description="The lowest threshold from which at least this share of the positives are true."
    )
    recall_at_least: Share | None = Field(
        default=None, description="The highest threshold at which at least this share of the true ones are found."
    )
    maximize: Literal["f1", "balanced_accuracy"] | None = Field(
        default=None, description="The threshold at which this metric is greatest."
    )
    costs: Costs | None = Field(default=None, description="The threshold at which wrong decisions cost least.")

    @model_validator(mode="after")
    def _check_one_rule(self) -> Self:
        if sum(getattr(self, rule) is not None for rule in type(self).model_fields) != 1:
            message = "give exactly one of precision_at_least, recall_at_least, maximize and costs."
            refuse("ThresholdRule", [], message, None)
        return self


Threshold = Annotated[
    Annotated[float, Field(ge=0, le=1), Tag("score")] | Annotated[ThresholdRule, Tag("rule")],
    Discriminator(lambda value: "rule" if isinstance(value, dict | ThresholdRule) else "score"),
    without_tag,
]


class Range(Block):
    """The values of a parameter from `low` to `high`, both included; whole numbers if both are."""

    low: Number = Field(description="The least value.")
    high: Number = Field(description="The greatest value.")
    log: bool = Field(default=False, description="Whether to search in orders of magnitude.")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.low >= self.high:
            refuse("Range", ["high"], f"{self.high} is not above {self.low}; write a greater one.", self.high)
        if self.log and self.low <= 0:
            refuse("Range", ["low"], f"{self.low} has no order of magnitude; write one above 0.", self.low)
        return self


def _check_values(values: object) -> object:
    if isinstance(values, list | dict | Range):
        return values
    raise ValueError(f"{values!r} is one value; write a list of them, or a range such as {{low: 0.01, high: 1}}.")


Choices = Annotated[list[Scalar], Field(min_length=1)]
Values = Annotated[
    Annotated[Choices, Tag("choices")] | Annotated[Range, Tag("range")],
    Discriminator(lambda value: "choices" if isinstance(value, list) else "range"),
    without_tag,
    BeforeValidator(_check_values),
]


class Search(Block):
    """A search for the estimator's parameters inside the training window; the hold-out is never looked at."""

    space: dict[str, Values] = Field(
        min_length=1,
        description="The parameters by name: a list of choices, or a range `{low: 0.01, high: 1, log: true}`.",
    )
    trials: int = Field(default=30, ge=1, description="The greatest number of trials.")
    at_most: Duration | None = Field(
        default=None, description="After this time on the clock no further trial begins; by default there is no limit."
    )
    folds: int = Field(
        default=3,
        ge=1,
        description="The number of folds that a trial is validated on: each is trained on the rows before it, and one "
        "label delay before it begins.",
    )
    metric: str | None = Field(
        default=None,
        description="What is to be best on average over the folds; by default `roc_auc`, `log_loss` for more than two "
        "classes, or `mean_absolute_error`.",
    )


class Leakage(Block):
    """What makes a feature look as if it gave the label away; such a model is not trained unless it is accepted."""

    alone_at_most: Share = Field(
        default=0.99,
        description="The greatest ROC AUC that one feature by itself may reach (against the rest, on average, for more "
        "than two classes), or for regression the greatest share of the label's variance that it may explain.",
    )
    allowed: list[str] = Field(
        default_factory=list, description="Features that are known before the label, however well they tell it."
    )


class Model(Block):
    """How a model is trained: one for each cutoff, on rows whose label was known by then."""

    estimator: Reference | None = Field(
        default=None,
        description="A scikit-learn compatible estimator by its import path; by default scikit-learn's histogram "
        "gradient boosting, with parameters that do well on most tables.",
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="The estimator's parameters; they go before those of the default estimator."
    )
    search: Search | None = Field(
        default=None, description="A search for the best parameters; those found take the place of `params`."
    )
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
        default=0.25,
        description="Without partitions: the share of rows held out, chosen by a hash of the key, or of the entity.",
    )
    threshold: Threshold = Field(
        default=0.5, description="The score from which a row counts as positive, or the rule by which it is chosen."
    )
    leakage: Leakage = Field(default_factory=Leakage, description="When a feature is taken for a leak of the label.")
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="The seed of everything random: training, intervals, pictures."
    )
    refit: bool = Field(
        default=False, description="Train once more, on all rows whose label was known, after the gates have passed."
    )
