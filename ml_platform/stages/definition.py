"""What a stage is: its assets and checks, what its results depend on, and how it computes partitions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg

from ml_platform.fingerprints import Recipe
from ml_platform.io_managers.publishing import Key, Metadata
from ml_platform.use_case import FailureClass, Stage

if TYPE_CHECKING:
    from ml_platform.stages.work import Work

Keys = Sequence[Key]
"""Partition keys in their order; the one None without partitions."""

FOLLOWS, EXAMPLES = "follows", "examples"
"""Metadata of a verdict: the stage whose refusals it follows from, and values that break the rule."""


@dataclass(frozen=True)
class Verdict:
    """What one check says of one partition; the reason says why it failed, and what to do.

    What a blocking verdict is against is not published, unless a person has accepted it; where there is nothing to
    publish it is not `acceptable`. A `warning` only annotates.
    """

    check: str
    partition: Key
    reason: str | None = None
    metadata: Metadata = field(default_factory=dict)
    blocks: bool = True
    acceptable: bool = True
    warning: bool = False
    failure_class: FailureClass = "data"

    @property
    def passed(self) -> bool:
        """Whether there is no reason against the partition."""
        return self.reason is None


@dataclass(frozen=True)
class Computed:
    """What a stage made of some partitions for one of its assets: the value, the verdicts, metadata by partition.

    Only a partition with metadata, though it be empty, is published.
    """

    stage: Stage
    value: Any
    metadata: Mapping[Key, Metadata]
    verdicts: Sequence[Verdict] = ()


@dataclass(frozen=True)
class Prepared:
    """Some partitions of a stage before they are computed.

    `inputs` has for each partition the data versions that it is made of, by the name of the input; `compute` computes
    those of the partitions that it is given.
    """

    inputs: Mapping[Key, Mapping[str, str | None]]
    compute: Callable[[Keys], Iterator[Computed]]


@dataclass(frozen=True)
class StageDefinition:
    """A stage: its assets in the order they are published, its checks, and how it computes.

    `chunks` cuts partitions into those that are computed at once; `made_of` gives the other partitions that are made of
    the same data as some.
    """

    assets: Mapping[Stage, dg.AssetSpec]
    checks: Sequence[dg.AssetCheckSpec]
    recipe: Callable[[], Recipe]
    prepare: Callable[["Work", Keys], Prepared]
    chunks: Callable[["Work", Keys], Iterator[Keys]]
    made_of: Callable[["Work", Keys], Keys] = lambda work, keys: []  # noqa: ARG005 - as the others are called

    @property
    def name(self) -> Stage:
        """The stage's word: its last asset."""
        return list(self.assets)[-1]
