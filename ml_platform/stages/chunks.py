"""Cuts of partitions into chunks, computed, published and recorded one after another, so that memory is bounded.

A chunk is sized by bytes: rows, of which the lake knows the number, times eight bytes a column.
"""

from collections.abc import Callable, Iterator

from ml_platform.stages.attributes import asset_key
from ml_platform.stages.definition import Keys
from ml_platform.stages.work import Work
from ml_platform.use_case import Stage

CHUNK_BYTES = 96_000_000
FIRST = 8
"""The partitions of a source's first chunk: nothing is known yet of how large they are."""

Chunks = Callable[[Work, Keys], Iterator[Keys]]


def one_by_one(_: Work, keys: Keys) -> Iterator[Keys]:
    """Each partition by itself."""
    yield from ([key] for key in keys)


def as_large_as_the_last(stage: Stage) -> Chunks:
    """Chunks sized by the rows that this very stage has published so far, for what comes from outside."""

    def chunks(work: Work, keys: Keys) -> Iterator[Keys]:
        position, size = 0, FIRST
        while position < len(keys):
            yield keys[position : position + size]
            position += size
            size = max(1, _rows_a_chunk(work) // max(1, _usual_rows(work, stage)))

    return chunks


def of(upstream: Stage, lookback: int = 0) -> Chunks:
    """Chunks sized by the rows of the stage that they are made of.

    With a lookback of some partitions a chunk has at least half as many: each chunk reads its lookback once more.
    """

    def chunks(work: Work, keys: Keys) -> Iterator[Keys]:
        size = max(1, lookback // 2, _rows_a_chunk(work) // max(1, _usual_rows(work, upstream)))
        yield from (keys[position : position + size] for position in range(0, len(keys), size))

    return chunks


def _rows_a_chunk(work: Work) -> int:
    return CHUNK_BYTES // (8 * len(work.use_case.contract.columns))


def _usual_rows(work: Work, stage: Stage) -> int:
    """The mean number of rows of a published partition, 0 where there is none."""
    counts = work.lake.table(asset_key(work.use_case, stage)).row_counts()
    return sum(counts.values()) // len(counts) if counts else 0
