"""Moves of the champion by a person, a promotion against or without the gates or a rollback, and all that were made."""

import json
from dataclasses import asdict
from datetime import UTC, date, datetime, time
from typing import Any

from ml_platform.errors import UserError
from ml_platform.ml.preprocessing import is_number
from ml_platform.resources.registry import USE_CASE_TAG, Version
from ml_platform.stages import ledger
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.book import Book, Entry, Event
from ml_platform.stages.opponent import is_known
from ml_platform.stages.work import Work


def promote(work: Work, number: int, why: str, until: date | None = None) -> Entry:
    """Make a version champion, whatever its gates say; up to `until` no model takes its place by itself.

    Given for the champion, it sets or lifts `until`.

    Raises:
        UserError: there is no such version, it is champion already up to then, it no longer fits the features, no
            reason is given, or the day is over.
    """
    today = datetime.now(UTC).date()
    if until is not None and until < today:
        raise UserError(f"{until} is over; give a later day, or none.")
    while True:
        settled = ledger.settled(work)
        book, champion, before = settled.book, settled.champion, _given_before(settled, "overridden", why)
        if before and (before.version, before.until) == (number, until):
            return before
        held = book.last.until if book.last and book.last.holds(today) else None
        # the champion itself may be given, to hold up to another day
        version = _movable(work, champion if until == held else None, number, why)
        made = ledger.entry(work, book, "overridden", version, why.strip(), until=until)
        if _written(work, book, made):
            return made


def rollback(work: Work, to: int | None, why: str) -> Entry:
    """Make an earlier version champion again, by default the one before it that was not rolled back from.

    The version that is left does not become champion by itself again.

    Raises:
        UserError: there is nothing to roll back to, the version no longer fits the features, or no reason is given.
    """
    while True:
        settled = ledger.settled(work)
        book, champion, before = settled.book, settled.champion, _given_before(settled, "rolled_back", why)
        if before and to in {None, before.version}:  # one more would go back twice
            return before
        if champion is None and to is None:
            raise UserError(
                f"{work.use_case.registry.name} has no champion to roll back from; say which one: --to VERSION."
            )
        version = _movable(work, champion, to if to is not None else _earlier(work, book), why)
        made = ledger.entry(work, book, "rolled_back", version, why.strip())
        if _written(work, book, made):
            return made


def history(work: Work, as_of: date | None = None) -> list[Entry]:
    """All moves, the oldest first, or only that by which the champion of the end of a day was put in place."""
    book = ledger.read(work)
    if as_of is None:
        return book.entries
    found = book.as_of(datetime.combine(as_of, time.max))
    return [found] if found else []


def shown(entry: Entry) -> dict[str, Any]:
    """A move as JSON can hold it."""
    document = {
        name: str(value) if name in {"at", "until"} and value else value for name, value in asdict(entry).items()
    }
    return {**document, "gates": json.loads(entry.gates)}


def day(text: str, where: str) -> date:
    """The day that was written somewhere, such as the last one on which a promotion holds.

    Raises:
        UserError: it is no day.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UserError(f"{where} {text} is no day; write it like 2018-05-31.") from None


def misfit(work: Work, version: Version) -> str | None:
    """Why a version cannot be applied to the features as they are now, or not at all, or None."""
    if not is_known(version):
        return "it was put into MLflow by hand, and nothing says what it was trained on"
    if (owner := version.tags.get(USE_CASE_TAG, work.use_case.name)) != work.use_case.name:
        return f"it is a model of the use case {owner}"
    if not version.inputs:
        return "it has no signature, which says what it takes"
    if reason := work.registry.spoilt(version):
        return reason
    schema = work.lake.table(asset_key(work.use_case, "features")).newest_schema()
    for name, kind in version.inputs.items():
        if name not in schema:
            return f"it needs the feature '{name}', which is gone"
        number = is_number(schema[name])
        if number != (kind == "double"):
            given, needed = ("a number", "a text") if number else ("a text", "a number")
            return f"its feature '{name}' is {needed}, and {given} now"
    return None


def _given_before(settled: ledger.Settled, event: Event, why: str) -> Entry | None:
    """The order before that was not answered, if this is the same one given again.

    What somebody else orders who may have seen the alias moved is another one.
    """
    before = settled.unanswered
    if before is None or before.event != event:
        return None
    same = (before.by, before.why) == (ledger.user(), why.strip())
    return before if same or not settled.seen else None


def _written(work: Work, book: Book, made: Entry) -> bool:
    """Whether a move was made; where its alias could not follow, it is in the ledger all the same, and that is told."""
    try:
        return ledger.write(work, book, made)
    except Exception as error:  # of MLflow, of Dagster or of their databases
        last = ledger.read(work).last
        if last is None or last.id != made.id:
            raise
        raise UserError(
            f"version {made.version} is champion in the ledger, and MLflow or Dagster could not follow "
            f"({type(error).__name__}); mend that, and the next run or the same order completes it."
        ) from error


def _earlier(work: Work, book: Book) -> int:
    """The version that a rollback leads to by default: the newest champion before, of those that the registry has."""
    found = next((one.version for one in book.earlier if ledger.is_there(work, one)), None)
    if found is None:
        raise UserError("there is no earlier champion that was not rolled back from; say which one: --to VERSION.")
    return found


def _movable(work: Work, champion: Version | None, number: int, why: str) -> Version:
    if not why.strip():
        raise UserError('say why: --why "...", or why in a job.')
    try:
        why.encode()
    except UnicodeEncodeError:
        raise UserError("the reason is not written in UTF-8; write it so, or in ASCII.") from None
    version = work.version(number)
    if champion is not None and champion.number == number:
        raise UserError(f"version {number} is champion already.")
    if reason := misfit(work, version):
        raise UserError(
            f"version {number} cannot be champion: {reason}; restore it, train it again, or take another version."
        )
    return version
