"""A use case's cadences as Dagster partitions: days of data, cutoffs of models, and the mappings between them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from math import ceil, floor
from warnings import catch_warnings, simplefilter

import dagster as dg

from ml_platform.ml.splits import Window, windows_before
from ml_platform.use_case import Cadence, UseCase

KEY_FORMAT = "%Y-%m-%d"
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# a month's least and greatest length: windows are widened to cover the one, never narrowed by the other
SHORTEST = {"day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=28)}
LONGEST = {"day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=31)}
CRON = {"day": "0 0 * * *", "week": "0 0 * * {weekday}", "month": "0 0 1 * *"}


@contextmanager
def accepted_previews() -> Iterator[None]:
    """Use of Dagster parameters that are beta or preview in 1.13 and that we accept; drop when they are stable."""
    with catch_warnings():
        simplefilter("ignore", dg.BetaWarning)
        simplefilter("ignore", dg.PreviewWarning)
        yield


def _definition(
    every: Cadence, start: date, end: date | None, time_zone: str, weekday: int, end_offset: int
) -> dg.TimeWindowPartitionsDefinition:
    return dg.TimeWindowPartitionsDefinition(
        start=datetime.combine(start, time()),
        end=datetime.combine(end, time()) if end else None,
        fmt=KEY_FORMAT,
        cron_schedule=CRON[every].format(weekday=(weekday + 1) % 7),
        timezone=time_zone,
        end_offset=end_offset,
    )


def data_partitions(use_case: UseCase) -> dg.TimeWindowPartitionsDefinition | None:
    """The partitions of the tables; weeks begin on Monday."""
    windows, zone = use_case.windows, use_case.automation.time_zone
    return _definition(windows.every, windows.start, windows.end, zone, weekday=0, end_offset=0) if windows else None


def _reach(use_case: UseCase) -> timedelta:
    """How far before a cutoff its training window begins."""
    model = use_case.model
    assert model.train_on is not None
    assert model.hold_out is not None
    return model.train_on + model.hold_out + 2 * use_case.label.known_after


def cutoff_partitions(use_case: UseCase) -> dg.TimeWindowPartitionsDefinition | None:
    """The cutoffs of the models: a key is the moment of the cutoff, the first one has its whole training window."""
    windows, model = use_case.windows, use_case.model
    if windows is None:
        return None
    first = datetime.combine(windows.start, time()) + _reach(use_case)
    first_day = first.date() if first.time() == time() else first.date() + timedelta(days=1)
    # a cutoff is there as soon as it is reached, not when the period that it opens is over
    end = windows.end + LONGEST[model.every] if windows.end else None
    if end and windows.end and model.every == "month":  # a month has not always its greatest length
        end = (windows.end.replace(day=1) + LONGEST["month"] + timedelta(days=1)).replace(day=1)
    zone, weekday = use_case.automation.time_zone, WEEKDAYS.index(model.weekday)
    return _definition(model.every, first_day, end, zone, weekday, end_offset=1)


def newest_cutoff(use_case: UseCase, by: datetime) -> str | None:
    """The newest cutoff that is reached at a moment, naive as the data is; None before the first."""
    definition = cutoff_partitions(use_case)
    # Dagster has the first cutoff before it is reached
    keys = definition.get_partition_keys() if definition else []
    return max((key for key in keys if day_of(key) <= by.date()), default=None)


def lookback_steps(use_case: UseCase) -> int:
    """The number of partitions before its own that a partition of features looks at."""
    return ceil(use_case.features.lookback / SHORTEST[use_case.windows.every]) if use_case.windows else 0


def looked_at(use_case: UseCase, keys: Iterable[str | None]) -> dict[str | None, list[str | None]]:
    """The partitions of validated rows that each of these partitions of features is made of, its own last."""
    return up_to(use_case, keys, lookback_steps(use_case))


def filling_up(use_case: UseCase, keys: Iterable[str | None]) -> list[str]:
    """Those of these partitions of data whose lookback reaches to before the first partition there is."""
    windows, lookback = use_case.windows, use_case.features.lookback
    return [key for key in keys if windows and key and day_of(key) - lookback < windows.start]


def up_to(use_case: UseCase, keys: Iterable[str | None], steps: int) -> dict[str | None, list[str | None]]:
    """Each of these partitions of data with as many as `steps` before it, its own last."""
    definition = data_partitions(use_case)
    if definition is None:
        return {None: [None]}
    every = list(definition.get_partition_keys())
    position = {key: number for number, key in enumerate(every)}
    return {key: [*every[max(0, position[str(key)] - steps) : position[str(key)] + 1]] for key in keys}


def looking_back_at(use_case: UseCase, keys: Iterable[str | None]) -> list[str | None]:
    """The other partitions of features that look back at any of these partitions of validated rows."""
    return around(use_case, keys, before=0, after=lookback_steps(use_case))


def around(use_case: UseCase, keys: Iterable[str | None], before: int, after: int) -> list[str | None]:
    """The other partitions of data that lie up to so many before or after any of these."""
    definition = data_partitions(use_case)
    if definition is None:
        return []
    every, given = list(definition.get_partition_keys()), set(keys)
    positions = [number for number, key in enumerate(every) if key in given]
    near = {number for position in positions for number in range(position - before, position + after + 1)}
    return [key for number, key in enumerate(every) if number in near and key not in given]


def known_by(use_case: UseCase, cutoff: str | None) -> list[str | None]:
    """The partitions of features that share a moment with what the model of a cutoff could know."""
    if cutoff is None:
        return [None]
    windows = windows_before(datetime.combine(day_of(cutoff), time()), use_case.model, use_case.label)
    return overlapping(use_case, windows.known)


def overlapping(use_case: UseCase, window: Window) -> list[str | None]:
    """The partitions of data that share a moment with a window."""
    definition = data_partitions(use_case)
    if definition is None:
        return [None]
    windows = windows_of(definition, definition.get_partition_keys())
    return [key for key, one in windows.items() if one.start < window.end and window.start < one.end]


def cutoff_mapping(use_case: UseCase) -> dg.PartitionMapping | None:
    """From a cutoff to the partitions of features in its training window and hold-out."""
    if use_case.windows is None:
        return None
    model, delay = use_case.model, use_case.label.known_after
    with accepted_previews():
        return dg.TimeWindowPartitionMapping(
            start_offset=-ceil(_reach(use_case) / SHORTEST[model.every]),
            end_offset=-floor((delay + SHORTEST[model.every]) / LONGEST[model.every]),
            allow_nonexistent_upstream_partitions=True,
        )


def day_of(partition: str) -> date:
    """The first day of a partition by its key."""
    return datetime.strptime(partition, KEY_FORMAT).date()


def span(partitions: Sequence[str]) -> str:
    """Partitions by the first and the last of them, with their number."""
    return partitions[0] if len(partitions) == 1 else f"{partitions[0]} .. {partitions[-1]} ({len(partitions)})"


def windows_of(definition: dg.TimeWindowPartitionsDefinition, partitions: Iterable[str]) -> dict[str, Window]:
    """Each partition's half-open window of event time, naive as the data is."""
    windows = {key: definition.time_window_for_partition_key(key) for key in partitions}
    return {
        key: Window(window.start.replace(tzinfo=None), window.end.replace(tzinfo=None))
        for key, window in windows.items()
    }
