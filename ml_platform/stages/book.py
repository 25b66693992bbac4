"""What the ledger says: the moves of the champion, and what follows from them."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Literal

import polars as pl

from ml_platform.resources.registry import Version

Event = Literal["promoted", "overridden", "rolled_back", "moved_in_mlflow"]
COLUMNS = {
    "id": pl.String(),
    "at": pl.Datetime("us"),
    "event": pl.String(),
    "version": pl.Int64(),
    "from_version": pl.Int64(),
    "cutoff": pl.String(),
    "by": pl.String(),
    "why": pl.String(),
    "gates": pl.String(),
    "until": pl.Date(),
    "evaluation": pl.String(),
    "dagster_run": pl.String(),
    "mlflow_run": pl.String(),
}


@dataclass(frozen=True)
class Entry:
    """One move of the champion: from a version, or none, to a version, or none where the alias was removed.

    `gates` is a JSON object of the gates it was made on: for each the reason why it failed, or null. An override holds
    until a day: up to then, this day included, no model takes the champion's place by itself. `evaluation` is the data
    version of the evaluation it was made on. `at` is in UTC. `mlflow_run` is that of the version, since versions of two
    registries may have the same number; entries of before it was noted have none.
    """

    id: str
    at: datetime
    event: Event
    version: int | None
    from_version: int | None
    cutoff: str
    by: str
    why: str
    gates: str = "{}"
    until: date | None = None
    evaluation: str | None = None
    dagster_run: str | None = None
    mlflow_run: str | None = None

    def made(self, champion: Version | None) -> bool:
        """Whether it made this version champion, or none."""
        if champion is None:
            return self.version is None
        return self.version == champion.number and self.mlflow_run in {None, champion.run_id}

    def holds(self, today: date) -> bool:
        """Whether it is an override that is still in force."""
        return self.until is not None and self.until >= today


@dataclass(frozen=True)
class Book:
    """The ledger as it was at a commit, None before the first: its entries, the oldest first."""

    commit: int | None
    entries: list[Entry]

    @property
    def last(self) -> Entry | None:
        """The newest entry."""
        return self.entries[-1] if self.entries else None

    @property
    def before(self) -> int | None:
        """The version that the champion replaced, None if it replaced none."""
        line = self._line()
        return line[-2].version if len(line) > 1 else None

    @property
    def earlier(self) -> list[Entry]:
        """How the versions became champion that a rollback may lead to: those down the line that nobody has left."""
        return [one for one in reversed(self._line()[:-1]) if not self._left(partial(_same, one))]

    def left(self, versions: Collection[Version]) -> Entry | None:
        """The rollback away from one of these versions, if none of them was put in place since."""
        return self._left(lambda entry: any(entry.made(version) for version in versions))

    def of(self, version: Version) -> list[Entry]:
        """The moves to a version and away from it."""
        return [one for before, one in self._moves() if one.made(version) or (before and before.made(version))]

    def as_of(self, moment: datetime) -> Entry | None:
        """The newest entry at a moment, in UTC."""
        return next((one for one in reversed(self.entries) if one.at <= moment), None)

    def _moves(self) -> Iterator[tuple[Entry | None, Entry]]:
        """Each entry after the one before it."""
        return zip([None, *self.entries], self.entries, strict=False)

    def _line(self) -> list[Entry]:
        """How the champion and those before it became champion, each of which the next one has replaced.

        A rollback leads back down the line: what it left is in the line no more. The line begins anew where there was
        no champion.
        """
        line: list[Entry] = []
        for one in self.entries:
            if one.version is None:
                line = []
                continue
            if one.event == "rolled_back":
                place = next((place for place, before in enumerate(line) if _same(before, one)), len(line) - 1)
                line = line[: max(place, 0)]
            if not line or not _same(line[-1], one):
                line.append(one)
        return line

    def _left(self, is_meant: Callable[[Entry], bool]) -> Entry | None:
        """The rollback away from what some entries made champion, if nobody has put that in place since.

        A move in MLflow, by whom and why is not known, may be that of an older database.
        """
        found = None
        for before, one in self._moves():
            if is_meant(one):
                found = found if one.event == "moved_in_mlflow" else None
            elif before is not None and is_meant(before) and one.event == "rolled_back":
                found = one
        return found


def _same(one: Entry, other: Entry) -> bool:
    """Whether two entries made the same version champion, as far as their runs were noted."""
    noted = one.mlflow_run and other.mlflow_run
    return one.version == other.version and (not noted or one.mlflow_run == other.mlflow_run)
