"""The ledger: who made which version champion, when and why; written before the alias moves, and never changed.

A move takes three steps: the entry, the alias `champion`, and a mark in the registry that the alias follows the entry.
Whoever reads the ledger next completes a move that was cut off between them, so there is one champion at every moment.
On one machine moves are made one at a time; elsewhere a move may be looked at before its alias has followed.
"""

import fcntl
import getpass
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple
from uuid import uuid4

import dagster as dg
import polars as pl
import polars.selectors as cs

from ml_platform.errors import UserError
from ml_platform.resources.registry import LEDGER_TAG, USE_CASE_TAG, Mark, UnknownVersionError, Version
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.book import COLUMNS, Book, Entry, Event
from ml_platform.stages.definition import Verdict
from ml_platform.stages.record import evaluation, record
from ml_platform.stages.work import Work
from ml_platform.use_case import UseCase

IN_LEDGER = "champion_in_ledger"
MOVED = "the alias was moved in MLflow"
SETTLES_SECONDS = 1.0


class Settled(NamedTuple):
    """The ledger and the champion, and whether the alias was moved by hand, as a sentence.

    `unanswered` is the newest move where who ordered it may not have heard of it, complete as it is now; `seen` says
    that the alias had been moved before this look, so that somebody else may have ordered another one since.
    """

    book: Book
    champion: Version | None
    moved: str | None = None
    unanswered: Entry | None = None
    seen: bool = False


class LedgerError(UserError):
    """The ledger and the registry are not of each other: nothing was written, no alias was moved."""


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
    # a table of before a column was added does without, one that somebody has added is not ours
    known = pl.concat(
        [pl.DataFrame(schema=COLUMNS), rows.select(cs.by_name(*COLUMNS, require_all=False))], how="diagonal"
    )
    return Book(commit, [Entry(**row) for row in known.sort("at").iter_rows(named=True)])


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
        by=by or user(),
        why=why,
        dagster_run=work.context.run.run_id if work.context else None,
        mlflow_run=version.run_id if version else None,
        **more,
    )


def user() -> str:
    """Whoever runs this: the name that the environment or the system knows, else the number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # such as a container's user
        return str(os.getuid())


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


def answered(work: Work, entry: Entry) -> None:
    """Note that who ordered a move has heard of it: the same order is one more from now on."""
    with _one_at_a_time(work):
        if read(work).last == entry:
            work.registry.mark_ledger(work.use_case.registry.name, Mark(entry.id, answered=True))


def follow(work: Work, entry: Entry) -> Version | None:
    """Let alias and mark follow the newest entry, this one or one that was written meanwhile; the champion.

    Raises:
        UnknownVersionError: the registry lacks the version.
    """
    while True:
        version = None if entry.version is None else version_of(work, entry)
        if version is not None:
            work.registry.crown(version)
        _show(work, entry)
        work.registry.mark_ledger(work.use_case.registry.name, Mark(entry.id))
        newest = read(work).last
        if newest is None or newest.id == entry.id:
            return version
        entry = newest


def settled(work: Work, *, begin_anew: bool = False) -> Settled:
    """The ledger and the champion that it says.

    A move that was cut off is completed, one made by hand in MLflow is entered. Whoever has a new model in a registry
    that lacks the champion may `begin_anew`; anyone else may be looking at the wrong registry.

    Raises:
        LedgerError: the champion is of another use case, or the ledger or the registry has lost what the other knows.
    """
    with _one_at_a_time(work):
        return _settled(work, begin_anew=begin_anew)


def _settled(work: Work, *, begin_anew: bool) -> Settled:
    name, last_look = work.use_case.registry.name, False
    while True:
        # in the order opposite to that of a move: one that others make meanwhile looks cut off, and not made by hand
        mark, champion, book = work.registry.ledger_mark(name), work.registry.champion(name), read(work)
        _check_own(work, champion)
        marked = _marked(work, book, mark)
        last, gone = book.last, False
        unanswered = last if mark is not None and not mark.answered and last == marked else None
        seen, moved = unanswered is not None, None
        if last is not None and last != marked and not begin_anew:
            _check_registry(work, last)
        if last is not None and _was_cut_off(work, last, marked, champion):
            seen = last.made(champion)
            try:
                champion = follow(work, last)
            except UnknownVersionError:
                gone = True
            else:
                moved = _by_hand(last) if last.event == "moved_in_mlflow" else None
                book = read(work)
                unanswered = last = book.last
        if last.made(champion) if last else champion is None:
            return Settled(book, champion, moved, unanswered, seen)
        if not last_look:  # on another machine a slow move may be about to put right what it has overtaken
            last_look = True
            sleep(SETTLES_SECONDS)
            continue
        gone = gone or (last is not None and last.version is not None and not is_there(work, last))
        why = f"MLflow has no version {last.version} any more" if gone and last else MOVED
        made = entry(work, book, "moved_in_mlflow", champion, why, by="unknown")
        if _write(work, book, made):
            return Settled(read(work), champion, _by_hand(made))


def _was_cut_off(work: Work, last: Entry, marked: Entry | None, champion: Version | None) -> bool:
    """Whether alias or mark have yet to follow the newest entry.

    An alias that is neither where the marked move has led nor where this one leads was moved by hand since, unless it
    went with its version. Where no move was marked and none is champion, there may be nothing that could be marked.
    """
    if last == marked:
        return False
    if last.made(champion):
        return champion is not None or marked is not None
    if last.version is None:
        return False
    if marked is None:
        return champion is None
    return marked.made(champion) or (champion is None and not is_there(work, marked))


def _check_own(work: Work, champion: Version | None) -> None:
    owner = champion.tags.get(USE_CASE_TAG) if champion else None
    if owner not in {None, work.use_case.name}:
        raise LedgerError(
            f"the champion of {work.use_case.registry.name} is a model of the use case {owner}; "
            f"give {work.use_case.name} a registry.name of its own."
        )


def _marked(work: Work, book: Book, mark: Mark | None) -> Entry | None:
    """The entry that the alias follows by the registry's mark, None before the first."""
    found = next((one for one in book.entries if mark is not None and one.id == mark.entry), None)
    if mark is not None and found is None:  # an older ledger must not say who is champion
        name = work.use_case.registry.name
        raise LedgerError(
            f"the ledger of {work.use_case.name} lacks the move that the champion of {name} in MLflow at "
            f"{work.registry.address} follows: one of them is older, or another one; name the right MLflow in "
            f"MLFLOW_TRACKING_URI, restore the ledger, {work.lake.address(ledger_key(work.use_case.name))}, or, if the "
            f"move is lost, remove the tag '{LEDGER_TAG}' of {name} in MLflow to go on without it."
        )
    return found


def _check_registry(work: Work, last: Entry) -> None:
    """Refuse a registry that lacks the version of a move that it has yet to follow: an older one, or another one."""
    if last.version is not None and not is_there(work, last):
        run = f" of run {last.mlflow_run}" if last.mlflow_run else ""
        raise LedgerError(
            f"MLflow at {work.registry.address} has no version {last.version} of {work.use_case.registry.name}{run}, "
            "which is champion in the ledger: it is older, or another one; name the right one in MLFLOW_TRACKING_URI, "
            "restore its database, or, if the version is lost, train again."
        )


def _tell(work: Work, reason: str) -> None:
    """Let the check say at once, and until the next decision, that the alias was moved, whoever has noticed it."""
    key = asset_key(work.use_case, "promotion")
    for newest in work.instance.fetch_materializations(key, limit=1).records:
        # without a run Dagster keeps one verdict for each partition, and fails at the second
        verdict = Verdict(IN_LEDGER, None, reason, blocks=False, warning=True)
        work.instance.report_runless_asset_event(evaluation(key, verdict, None, newest))


def version_of(work: Work, entry: Entry) -> Version:
    """The version that an entry made champion.

    Raises:
        UnknownVersionError: the registry lacks it, or has another model under its number.
    """
    version = work.version(entry.version or 0)
    if not entry.made(version):
        raise UnknownVersionError(f"version {version.number} of {version.name} is not the one of the ledger.")
    return version


def is_there(work: Work, entry: Entry) -> bool:
    """Whether the registry has the version that an entry made champion."""
    try:
        version_of(work, entry)
    except UnknownVersionError:
        return False
    return True


def _by_hand(entry: Entry) -> str:
    """What happened to the champion outside the ledger, for who reads of it first."""
    if entry.why != MOVED:
        now = f"version {entry.version}" if entry.version else "none"
        return (
            f"{entry.why}, which was champion; {now} is now, and so it stands in the ledger: models are judged against "
            f"{now}."
        )
    if entry.version is None:
        said = f"taken from version {entry.from_version}"
    elif entry.from_version is None:
        said = f"set to version {entry.version}"
    else:
        said = f"moved from version {entry.from_version} to {entry.version}"
    return (
        f"the alias champion was {said} in MLflow, by whom and why is not known; it is in the ledger now. "
        "Use ml-platform promote or rollback."
    )


def _show(work: Work, entry: Entry) -> None:
    """Record the entry for the UI, as a materialization of the ledger, and where nobody ordered it by the check."""
    if entry.event == "moved_in_mlflow":
        _tell(work, _by_hand(entry))
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
