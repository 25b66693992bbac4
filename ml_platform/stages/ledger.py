"""The ledger: who made which version champion, when and why; written before the alias moves, and never changed.

A move takes three steps: the entry, the alias `champion`, and a mark in the registry that the alias follows the entry.
Whoever reads the ledger next completes a move that was cut off between them, so there is one champion at every moment.
On one machine moves are made one at a time; elsewhere a move may be looked at before its alias has followed.
"""

import fcntl
import getpass
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Any, Literal, NamedTuple
from uuid import uuid4

import dagster as dg
import polars as pl

from ml_platform.errors import UserError
from ml_platform.resources.registry import USE_CASE_TAG, UnknownVersionError, Version
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.definition import Verdict
from ml_platform.stages.record import evaluation, record
from ml_platform.stages.work import Work
from ml_platform.use_case import UseCase

Event = Literal["promoted", "overridden", "rolled_back", "moved_in_mlflow"]
IN_LEDGER = "champion_in_ledger"
SETTLES_SECONDS = 1.0
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


class Settled(NamedTuple):
    """The ledger and the champion; the move that was completed; whether the alias was moved by hand, as a sentence."""

    book: Book
    champion: Version | None
    completed: Entry | None
    moved: str | None


class SharedRegistryError(UserError):
    """Another use case has registered models under the same name."""


def ledger_key(use_case: str) -> dg.AssetKey:
    """The key of a use case's ledger."""
    return dg.AssetKey([use_case, "ledger"])


def ledger_spec(use_case: UseCase) -> dg.AssetSpec:
    """The ledger as an asset, written by promotion and by hand."""
    return dg.AssetSpec(
        ledger_key(use_case.name),
        description="Who made which version champion, when and why: each line is one move, none is ever changed.",
        deps=[asset_key(use_case, "promotion")],
        group_name=use_case.name,
        owners=use_case.owners,
        kinds={"deltalake"},
    )


def read(work: Work) -> Book:
    """The ledger of a use case."""
    stored = work.lake.table(ledger_key(work.use_case.name)).read()
    if stored is None:
        return Book(None, [])
    commit, rows = stored
    return Book(commit, [Entry(**row) for row in rows.select(*COLUMNS).sort("at").iter_rows(named=True)])


def entry(
    work: Work, book: Book, event: Event, version: Version | None, why: str, by: str | None = None, **more: Any
) -> Entry:
    """A new entry after those of a book, of this moment, by whoever runs this if nobody else is named."""
    now, last = datetime.now(UTC).replace(tzinfo=None), book.last
    return Entry(
        id=str(uuid4()),
        at=max(now, last.at + timedelta(microseconds=1)) if last else now,  # clocks differ; the order must not
        event=event,
        version=version.number if version else None,
        from_version=last.version if last else None,
        cutoff=version.cutoff if version else "",
        by=by or getpass.getuser(),
        why=why,
        dagster_run=work.context.run.run_id if work.context else None,
        **more,
    )


def write(work: Work, book: Book, entry: Entry) -> bool:
    """Make a move: entry, alias, mark. False, and nothing done, if the ledger has grown since it was read."""
    with _one_at_a_time(work):
        return _write(work, book, entry)


@contextmanager
def _one_at_a_time(work: Work) -> Iterator[None]:
    """Nobody else on this machine moves the champion or looks whether it was moved; the end of a process frees it."""
    with Path(work.instance.root_directory, f".{work.use_case.name}.ledger.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(work: Work, book: Book, entry: Entry) -> bool:
    table = work.lake.table(ledger_key(work.use_case.name))
    if not table.append_after(book.commit, pl.DataFrame([asdict(entry)], schema=COLUMNS)):
        return False
    follow(work, entry)
    return True


def follow(work: Work, entry: Entry) -> Version | None:
    """Let alias and mark follow the newest entry, this one or one that was written meanwhile; the champion.

    Raises:
        UnknownVersionError: the registry lacks the version.
    """
    name = work.use_case.registry.name
    while True:
        version = None if entry.version is None else work.version(entry.version)
        if version is not None:
            work.registry.crown(version)
        _show(work, entry)
        if version is not None:
            work.registry.mark_ledger(name, entry.id)
        newest = read(work).last
        if newest is None or newest.id == entry.id:
            return version
        entry = newest


def settled(work: Work) -> Settled:
    """The ledger and the champion that it says.

    A move that was cut off is completed, one made by hand in MLflow is entered.

    Raises:
        SharedRegistryError: the champion is of another use case.
    """
    with _one_at_a_time(work):
        return _settled(work)


def _settled(work: Work) -> Settled:
    name, completed, last_look = work.use_case.registry.name, None, False
    while True:
        # in the order opposite to that of a move: one that others make meanwhile looks cut off, and not made by hand
        mark, champion, book = work.registry.ledger_mark(name), work.registry.champion(name), read(work)
        _check_own(work, champion)
        last, gone = book.last, False
        if last is not None and last.version is not None and mark != last.id:
            try:
                champion = follow(work, last)
            except UnknownVersionError:
                gone = True
            else:
                book, completed = read(work), last
                last = book.last
        recorded = last.version if last else None
        if (champion.number if champion else None) == recorded:
            return Settled(book, champion, completed, None)
        if not last_look:  # on another machine a slow move may be about to put right what it has overtaken
            last_look = True
            sleep(SETTLES_SECONDS)
            continue
        gone = gone or (recorded is not None and not _is_there(work, recorded))
        why, reason = _moved(recorded, champion, gone=gone)
        if _write(work, book, entry(work, book, "moved_in_mlflow", champion, why, by="unknown")):
            _tell(work, reason)
            return Settled(read(work), champion, completed, reason)


def _check_own(work: Work, champion: Version | None) -> None:
    owner = champion.tags.get(USE_CASE_TAG) if champion else None
    if owner not in {None, work.use_case.name}:
        raise SharedRegistryError(
            f"the champion of {work.use_case.registry.name} is a model of the use case {owner}; "
            f"give {work.use_case.name} a registry.name of its own."
        )


def _tell(work: Work, reason: str) -> None:
    """Let the check say at once, and until the next decision, that the alias was moved, whoever has noticed it."""
    key = asset_key(work.use_case, "promotion")
    for newest in work.instance.fetch_materializations(key, limit=1).records:
        # without a run Dagster keeps one verdict for each partition, and fails at the second
        verdict = Verdict(IN_LEDGER, None, reason, blocks=False, warning=True)
        work.instance.report_runless_asset_event(evaluation(key, verdict, None, newest))


def _is_there(work: Work, number: int) -> bool:
    """Whether the registry has a version."""
    try:
        work.version(number)
    except UnknownVersionError:
        return False
    return True


def _moved(recorded: int | None, champion: Version | None, *, gone: bool) -> tuple[str, str]:
    """What happened to the champion outside the ledger: for the ledger, and for who reads of it first."""
    if gone:
        why = f"MLflow has no version {recorded} any more"
        now = f"version {champion.number} is" if champion else "none is"
        return why, (
            f"{why}, which was champion; {now} now, and so it stands in the ledger. "
            "If MLflow's database was lost, restore it, or go on: models are judged as if there had been none."
        )
    if champion is None:
        said = f"taken from version {recorded}"
    elif recorded is None:
        said = f"set to version {champion.number}"
    else:
        said = f"moved from version {recorded} to {champion.number}"
    return "the alias was moved in MLflow", (
        f"the alias champion was {said} in MLflow, by whom and why is not known; it is in the ledger now. "
        "Use ml-platform promote or rollback."
    )


def _show(work: Work, entry: Entry) -> None:
    """Record the entry as a materialization of the ledger, for the UI."""
    shown = {name: value for name, value in asdict(entry).items() if value is not None and name not in {"gates", "at"}}
    shown["gates"] = {name: reason or "passed" for name, reason in json.loads(entry.gates).items()}
    event = dg.AssetMaterialization(
        ledger_key(work.use_case.name),
        description=entry.why,
        metadata={name: str(value) if isinstance(value, date) else value for name, value in shown.items()},
    )
    if work.context is not None:
        record(work.context, [event])
    else:
        work.instance.report_runless_asset_event(event)
