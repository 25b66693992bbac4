"""The source `python`: rows from a function of a window of time."""

from ml_platform import references
from ml_platform.ml.frames import to_polars
from ml_platform.sources.delivery import Delivery, Session, Wanted, by_partition, delivered
from ml_platform.use_case import PythonSource, UseCase


def read(source: PythonSource, use_case: UseCase, wanted: Wanted, _: Session) -> list[Delivery]:
    """Call the function once for the whole span of the wanted partitions and cut its rows by event time.

    Rows outside of the span, or without a readable event time, come with the first partition, where the contract sends
    them to quarantine.
    """
    function, what = references.load(source.function), f"The result of {source.function}"
    if wanted is None:
        return [delivered(None, to_polars(function(**source.arguments), what))]
    start = min(window.start for window in wanted.values())
    end = max(window.end for window in wanted.values())
    rows = to_polars(function(start, end, **source.arguments), what)
    parts = by_partition(rows, use_case, wanted, undated=min(wanted), others=min(wanted))
    return [delivered(partition, part) for partition, part in parts.items()]
