"""The source `python`: rows from a function of a window of time."""

from ml_platform import references
from ml_platform.ml.contract import missing_columns
from ml_platform.ml.frames import to_polars
from ml_platform.sources.delivery import Delivery, Wanted, cut, delivered
from ml_platform.use_case import PythonSource, UseCase


def read(source: PythonSource, use_case: UseCase, wanted: Wanted) -> list[Delivery]:
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
    if missing_columns(rows, use_case.contract):
        return [delivered(partition, rows) for partition in wanted]
    return cut(rows, use_case, wanted, undated=min(wanted), others=min(wanted))
