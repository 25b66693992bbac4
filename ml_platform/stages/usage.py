"""What a stage takes: seconds, memory, and what it reads, as plain numbers that the UI plots over partitions."""

import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Any

import polars as pl

from ml_platform.io_managers.publishing import Metadata
from ml_platform.stages.attributes import ROW_COUNTS, rows_told
from ml_platform.stages.definition import Computed, Keys, Prepared, StageDefinition

if TYPE_CHECKING:
    from ml_platform.stages.work import Work

KIBIBYTE = 1 if sys.platform == "darwin" else 1024  # what ru_maxrss counts in


@dataclass(frozen=True)
class Usage:
    """What some partitions together took to compute; `peak_memory_bytes` is the most that their process had held."""

    wall_seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    rows_in: int
    bytes_in: int

    def each(self, partitions: int) -> dict[str, float]:
        """The metadata of each of them: an equal part, but for the memory, which they share."""
        return {
            "wall_seconds": self.wall_seconds / partitions,
            "cpu_seconds": self.cpu_seconds / partitions,
            "peak_memory_bytes": self.peak_memory_bytes,
            "rows_in": round(self.rows_in / partitions),
            "bytes_in": round(self.bytes_in / partitions),
        }


class Meter:
    """Measures this process, and its children that have ended, from one lap to the next."""

    def __init__(self) -> None:
        self._wall, self._cpu, self._largest_child = monotonic(), _cpu_seconds(), _peak(resource.RUSAGE_CHILDREN)
        self._rows = self._bytes = 0

    def read(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows that a stage has read, which are noted."""
        self._rows += rows.height
        self._bytes += int(rows.estimated_size())
        return rows

    def lap(self) -> Usage:
        """What was used since the last lap."""
        wall, cpu, child = monotonic(), _cpu_seconds(), _peak(resource.RUSAGE_CHILDREN)
        # a child that has ended before this lap counts no more, as far as the system tells: it knows the largest only
        peak = _peak(resource.RUSAGE_SELF) + (child if child > self._largest_child else 0)
        usage = Usage(wall - self._wall, cpu - self._cpu, peak, self._rows, self._bytes)
        self._wall, self._cpu, self._largest_child, self._rows, self._bytes = wall, cpu, child, 0, 0
        return usage


def metered(stage: StageDefinition) -> StageDefinition:
    """The stage with what it takes in the metadata of each partition.

    An asset that is made on the way, as quarantine is, has only rows and bytes: its cost is in that of the stage.
    """

    def prepare(work: "Work", keys: Keys) -> Prepared:
        work.meter.lap()
        prepared = stage.prepare(work, keys)

        def compute(due: Keys) -> Iterator[Computed]:
            for computed in prepared.compute(due):
                together = {*computed.metadata, *(verdict.partition for verdict in computed.verdicts)}
                took = work.meter.lap().each(len(together)) if computed.stage == stage.name else {}
                yield replace(
                    computed,
                    metadata={
                        key: {**one, **took, **_given(computed.value, one)} for key, one in computed.metadata.items()
                    },
                )

        return replace(prepared, compute=compute)

    return replace(stage, prepare=prepare)


def _given(value: Any, metadata: Metadata) -> dict[str, float]:
    """The rows of a partition, and the bytes of its share of a frame in memory; nothing of what is no table."""
    if not isinstance(value, pl.DataFrame) or not any(name in metadata for name in ROW_COUNTS):
        return {}
    rows = rows_told(metadata)
    return {"rows_out": rows, "bytes_out": round(value.estimated_size() * rows / max(value.height, 1))}


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _peak(who: int) -> int:
    """The most bytes that this process has ever held, or the largest of its children that have ended."""
    return resource.getrusage(who).ru_maxrss * KIBIBYTE
