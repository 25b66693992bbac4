"""What the ledger says: the moves of the champion, and what follows from them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

import polars as pl

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
}


@dataclass(frozen=True)
class Entry:
    """One move of the champion: from a version, or none, to a version, or none where the alias was removed.

    `gates` is a JSON object of the gates it was made on: for each the reason why it failed, or null. An override holds
    until a day: up to then, this day included, no model takes the champion's place by itself. `evaluation` is the data
    version of the evaluation it was made on. `at` is in UTC.
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
        """The version that the champion replaced, None if it replaced none.

        A rollback leads back down the line: what it left is in the line no more. The line begins anew where there was
        no champion.
        """
        line: list[int] = []
        for one in self.entries:
            if one.version is None:
                line = []
            elif one.event == "rolled_back":
                line = line[: line.index(one.version)] if one.version in line else line[:-1]
            if one.version is not None and line[-1:] != [one.version]:
                line.append(one.version)
        return line[-2] if len(line) > 1 else None

    @property
    def left_versions(self) -> set[int]:
        """The versions that were rolled back from and not put in place since."""
        numbers = {one.from_version for one in self.entries if one.from_version is not None}
        return {number for number in numbers if self.left([number])}

    def left(self, versions: Collection[int]) -> Entry | None:
        """The rollback away from one of these versions, if none of them was put in place since."""
        about = [one for one in self.entries if one.version in versions or one.from_version in versions]
        last = about[-1] if about else None
        return last if last and last.event == "rolled_back" and last.from_version in versions else None

    def as_of(self, moment: datetime) -> Entry | None:
        """The newest entry at a moment, in UTC."""
        return next((one for one in reversed(self.entries) if one.at <= moment), None)
