"""What is done about each class of failure, and what a stage may take before it is one: time and memory."""

from datetime import timedelta
from typing import Literal

from pydantic import Field

from ml_platform.blocks import Block, Duration, Memory
from ml_platform.use_case.words import Severity

FailureClass = Literal["transient", "data", "resources", "code"]


class TransientFailures(Block):
    """What passes by itself: a connection that is refused, a lock that is held, a busy database."""

    severity: Severity = Field(default="low", description="How bad it is, once the retries are used up.")
    do: Literal["retry", "stop"] = Field(
        default="retry", description="`retry`: wait and try again, and stop after the last time; `stop` at once."
    )
    retries: int = Field(default=4, ge=1, description="How many times it is tried again.")
    first_wait: Duration = Field(
        default=timedelta(seconds=2),
        description="How long it waits before it tries again: twice as long each time, less up to a half by chance.",
    )


class DataFailures(Block):
    """What a check refuses; it is never tried again, for the data would be the same."""

    severity: Severity = Field(default="medium", description="How bad it is.")
    do: Literal["skip", "last_good", "stop"] = Field(
        default="skip",
        description="`skip`: the partition keeps the value it had, the others go on; `last_good`: that value is also "
        "marked as such, and no model trained on it becomes champion; `stop` after the stage.",
    )


class ResourceFailures(Block):
    """Too much memory or time, or a full disk."""

    severity: Severity = Field(default="high", description="How bad it is.")
    do: Literal["split", "stop"] = Field(
        default="split",
        description="`split`: compute half of the partitions at a time, down to one, which is skipped if it still "
        "fails; `stop` at once.",
    )


class CodeFailures(Block):
    """Everything else that is raised, such as a TypeError in the transform."""

    severity: Severity = Field(default="critical", description="How bad it is.")
    do: Literal["split", "stop"] = Field(
        default="stop",
        description="`stop` at once; `split`: find the partitions that fail as for resources, and skip those.",
    )


class Failures(Block):
    """What is done when a stage fails, by the class of the failure."""

    transient: TransientFailures = Field(
        default_factory=TransientFailures, description="What passes by itself: network, locks, a busy database."
    )
    data: DataFailures = Field(default_factory=DataFailures, description="What a check refuses.")
    resources: ResourceFailures = Field(
        default_factory=ResourceFailures, description="Too much memory or time, or a full disk."
    )
    code: CodeFailures = Field(default_factory=CodeFailures, description="Everything else that is raised.")

    def severity(self, failure_class: FailureClass) -> Severity:
        """How bad failures of a class are."""
        block: TransientFailures | DataFailures | ResourceFailures | CodeFailures = getattr(self, failure_class)
        return block.severity


class Limit(Block):
    """What a stage may take for the partitions that it computes at once; it is computed in a process of its own."""

    time: Duration | None = Field(
        default=None,
        gt=timedelta(0),
        description="The longest that they may take; then their process is ended, and it is tried with fewer.",
    )
    memory: Memory | None = Field(
        default=None, description="The most that their process and its children may hold; then it is ended too."
    )
    gpus: int | None = Field(
        default=None, ge=1, description="The GPUs that the step asks Kubernetes for; elsewhere it means nothing."
    )

    @property
    def is_supervised(self) -> bool:
        """Whether anything is to be watched on this machine."""
        return self.time is not None or self.memory is not None
