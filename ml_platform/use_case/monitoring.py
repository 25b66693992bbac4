"""The blocks about monitoring: when data, scores or performance have left what they were, and when to train again."""

from datetime import timedelta

from pydantic import Field

from ml_platform.blocks import Block, Duration, Share


class Drift(Block):
    """When a feature, the score or the number of rows has drifted from what the model was trained on."""

    window: int = Field(default=5, ge=1, description="The number of partitions whose mean is compared.")
    least: float = Field(
        default=0.1,
        gt=0,
        allow_inf_nan=False,
        description="The least departure that counts: in standard deviations for means, on the logarithm for spreads "
        "and numbers of rows (0.1 is about 10 %), in Cohen's h for shares.",
    )
    false_alarms: float = Field(
        default=0.5,
        gt=0,
        allow_inf_nan=False,
        description="How many alarms luck alone may raise in 90 partitions, over all columns together.",
    )


class Performance(Block):
    """When the model has become worse, on rows whose label has arrived."""

    loss: Share = Field(
        default=0.05, gt=0, description="The least loss that counts, as a share of the metric's value on unseen rows."
    )
    labelled_at_least: Share = Field(
        default=0.5, description="The share of a partition's rows with a label from which its performance is judged."
    )


class Retraining(Block):
    """When a model shall be trained because of drift or of a loss of performance."""

    enough_labels: int = Field(
        default=1_000,
        ge=1,
        description="The least number of labelled rows since the drift began that the model of the newest cutoff would "
        "learn from.",
    )
    cool_down: Duration = Field(
        default=timedelta(days=7), description="The least time between the newest cutoff and the next one."
    )
    tries: int = Field(
        default=2,
        ge=1,
        description="After so many models that saw rows of the drift and did not end it no further one is asked for.",
    )


class Monitoring(Block):
    """What is watched after a prediction was made."""

    drift: Drift = Field(default_factory=Drift, description="When something has drifted.")
    performance: Performance = Field(default_factory=Performance, description="When the model has become worse.")
    retraining: Retraining = Field(default_factory=Retraining, description="When to train again.")
