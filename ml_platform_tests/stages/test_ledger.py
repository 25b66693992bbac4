"""The ledger only grows, by one writer at a time, and says how to go back down the line of champions."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from unittest.mock import Mock
from uuid import uuid4

import dagster as dg
import polars as pl
import pytest
from deltalake import DeltaTable, Field
from deltalake.exceptions import DeltaError
from mlflow import MlflowClient

from ml_platform.cli.project import Project
from ml_platform.errors import UserError
from ml_platform.resources.lake import Lake, Table
from ml_platform.resources.registry import Mark, Version
from ml_platform.resources.tracking import Tracking
from ml_platform.stages import ledger
from ml_platform.stages.book import COLUMNS, Book, Entry, Event
from ml_platform.stages.work import Work
from ml_platform.versions.moves import promote, rollback

BEGIN = datetime(2024, 1, 1)


def book(*moves: tuple[Event, int | None]) -> Book:
    """A ledger of these moves, a day apart."""
    entries: list[Entry] = []
    for number, (event, version) in enumerate(moves):
        before = entries[-1].version if entries else None
        at = BEGIN + timedelta(days=number)
        entries.append(Entry(f"{number}", at, event, version, before, "", "someone", "so"))
    return Book(len(entries) - 1, entries)


UP: tuple[tuple[Event, int | None], ...] = (("promoted", 1), ("promoted", 2), ("promoted", 3))


@pytest.mark.parametrize(
    ("moves", "before"),
    [
        ([], None),
        ([("promoted", 1)], None),
        (UP, 2),
        ([*UP, ("rolled_back", 2)], 1),
        ([*UP, ("rolled_back", 2), ("rolled_back", 1)], None),
        ([*UP, ("rolled_back", 1)], None),
        # what was left is not what it leads back to
        ([*UP, ("rolled_back", 2), ("promoted", 4)], 2),
        ([*UP, ("rolled_back", 2), ("overridden", 3)], 2),
        # a version that was never champion stands where the one stood that was left
        ([*UP, ("rolled_back", 7)], 2),
        # an old champion put in place again has replaced the newest, and then the line goes on, not round
        ([*UP, ("overridden", 1)], 3),
        ([*UP, ("overridden", 1), ("rolled_back", 3)], 2),
        ([*UP, ("moved_in_mlflow", 1)], 3),
        # where there was none, there is nothing to go back to
        ([*UP, ("moved_in_mlflow", None)], None),
        ([*UP, ("moved_in_mlflow", None), ("promoted", 4)], None),
    ],
)
def test_the_version_that_the_champion_replaced(moves: list[tuple[Event, int | None]], before: int | None) -> None:
    assert book(*moves).before == before


@pytest.mark.parametrize(
    ("moves", "earlier"),
    [
        ((), []),
        (UP, [2, 1]),
        ([*UP, ("rolled_back", 2)], [1]),
        # 1 was put in place again, and left again
        ([*UP, ("rolled_back", 2), ("overridden", 1), ("rolled_back", 2)], []),
        ([*UP, ("moved_in_mlflow", None), ("promoted", 4)], []),
    ],
)
def test_the_versions_that_a_rollback_may_lead_to(moves: list[tuple[Event, int | None]], earlier: list[int]) -> None:
    assert [one.version for one in book(*moves).earlier] == earlier


def test_what_was_rolled_back_from_is_left_until_it_is_put_in_place() -> None:
    two, three = (Version("payments", number, "", "", "") for number in (2, 3))
    assert book(*UP).left([three]) is None
    left = book(*UP, ("rolled_back", 2))
    assert left.left([three]) == left.last
    assert left.left([two]) is None
    assert left.left([]) is None
    assert book(*UP, ("rolled_back", 2), ("overridden", 3)).left([three]) is None
    assert book(*UP, ("rolled_back", 2), ("rolled_back", 3)).left([three]) is None


def test_what_was_rolled_back_from_is_left_though_the_alias_came_back_to_it_in_mlflow() -> None:
    back = book(*UP, ("rolled_back", 2), ("moved_in_mlflow", 3))
    three = Version("payments", 3, "", "", "")
    assert back.left([three]) == back.entries[3]
    up = book(*UP, ("rolled_back", 2), ("moved_in_mlflow", 3), ("promoted", 4))
    assert up.left([three]) == up.entries[3]
    assert [one.version for one in up.earlier] == [2, 1]
    again = book(*UP, ("rolled_back", 2), ("moved_in_mlflow", 3), ("rolled_back", 2))
    assert again.left([three]) == again.last


def test_the_entry_of_a_moment() -> None:
    found = book(*UP)
    assert found.as_of(BEGIN - timedelta(seconds=1)) is None
    assert found.as_of(BEGIN) == found.entries[0]
    assert found.as_of(BEGIN + timedelta(hours=47)) == found.entries[1]


def test_rows_are_added_only_after_the_commit_that_was_read(tmp_path: Path) -> None:
    table = Lake(root=str(tmp_path)).table(dg.AssetKey("book"))
    rows = pl.DataFrame({"number": [1]})
    assert table.append_after(None, rows)
    assert not table.append_after(None, rows)
    assert table.append_after(0, rows)
    assert not table.append_after(0, rows)
    assert table.append_after(1, rows)
    assert table.scan().collect().height == 3


def test_of_many_writers_at_once_one_comes_first(tmp_path: Path) -> None:
    table = Lake(root=str(tmp_path)).table(dg.AssetKey("book"))
    for version in (None, 0, 1):
        barrier = Barrier(4)

        def add(number: int, version: int | None = version, barrier: Barrier = barrier) -> bool:
            barrier.wait()
            return table.append_after(version, pl.DataFrame({"number": [number]}))

        with ThreadPoolExecutor(4) as threads:
            assert sorted(threads.map(add, range(4))) == [False, False, False, True]
    assert table.scan().collect().height == 3


def version_of(work: Work, number: int) -> Version:
    found = work.tracking.version("payments", number)
    assert found is not None
    return found


def alias(work: Work) -> int:
    champion = work.registry.champion("payments")
    assert champion is not None
    return champion.number


def sensor_says(project: Project) -> str | None:
    """What the sensor on MLflow says of a look."""
    repository = project.definitions.get_repository_def()
    with dg.build_sensor_context(project.instance, resources=repository.get_top_level_resources()) as context:
        return repository.get_sensor_def("payments__mlflow").evaluate_tick(context).skip_message


def test_who_wrote_on_an_old_ledger_has_to_read_it_again(registered: Project) -> None:
    work = registered.work("payments")
    first, second = ledger.read(work), ledger.read(work)
    assert ledger.write(work, first, ledger.entry(work, first, "overridden", version_of(work, 1), "first"))
    late = ledger.entry(work, second, "overridden", version_of(work, 2), "second")
    assert not ledger.write(work, second, late)
    assert [one.why for one in ledger.read(work).entries[3:]] == ["first"]
    assert alias(work) == 1


def test_two_people_at_once_both_get_their_way_one_after_the_other(registered: Project) -> None:
    barrier = Barrier(2)

    def move(number: int) -> Entry:
        work = registered.work("payments")
        barrier.wait()
        return promote(work, number, f"for {number}")

    work = registered.work("payments")
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(move, (1, 2)))
    entries = ledger.read(work).entries
    assert sorted(one.why for one in entries[3:]) == ["for 1", "for 2"]
    assert [one.from_version for one in entries] == [None, *(one.version for one in entries[:-1])]
    champion = work.tracking.champion("payments")
    assert champion is not None
    assert champion.number == entries[-1].version
    assert ledger.settled(work)[:3] == (ledger.read(work), champion, None)


def test_nobody_on_this_machine_looks_while_another_moves(registered: Project) -> None:
    work = registered.work("payments")
    with ThreadPoolExecutor(1) as threads:
        with ledger._one_at_a_time(work):
            look = threads.submit(ledger.settled, work)
            with pytest.raises(TimeoutError):
                look.result(timeout=1)
        assert look.result().moved is None


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who moves meanwhile is on another machine, where the lock of this one is not seen."""
    monkeypatch.setattr(ledger, "_one_at_a_time", lambda _: nullcontext())


@pytest.mark.usefixtures("elsewhere")
def test_a_slow_writer_does_not_crown_over_a_newer_entry(registered: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    work, crown, slow = registered.work("payments"), Tracking.crown, [True]

    def late(self: Tracking, version: Version) -> None:
        if slow.pop() if slow else False:
            promote(registered.work("payments"), 2, "meanwhile")
        crown(self, version)

    monkeypatch.setattr(Tracking, "crown", late)
    promote(work, 1, "slowly")
    assert alias(work) == 2
    assert [one.version for one in ledger.read(work).entries[3:]] == [1, 2]


@pytest.mark.usefixtures("elsewhere")
def test_a_move_that_others_make_meanwhile_is_not_taken_for_one_by_hand(
    registered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, read, once = registered.work("payments"), Tracking.champion, [True]

    def early(self: Tracking, name: str) -> Version | None:
        found = read(self, name)
        if once.pop() if once else False:
            promote(registered.work("payments"), 1, "meanwhile")
        return found

    monkeypatch.setattr(Tracking, "champion", early)
    found, champion, moved, *_ = ledger.settled(work)
    assert moved is None
    assert champion is not None
    assert champion.number == 1
    assert [one.event for one in found.entries] == ["promoted"] * 3 + ["overridden"]


def test_the_ledger_has_only_appends_and_says_all_of_a_move(registered: Project) -> None:
    work = registered.work("payments")
    rollback(work, None, "complaints")
    history = DeltaTable(work.lake.address(ledger.ledger_key("payments"))).history()
    assert [one["operation"] for one in history] == ["WRITE"] * 4
    assert {one["operationParameters"]["mode"] for one in history} <= {"Append", "ErrorIfExists"}
    with pytest.raises(DeltaError, match=r"(?i)append.only"):
        DeltaTable(work.lake.address(ledger.ledger_key("payments"))).delete()
    promoted, last = ledger.read(work).entries[2:]
    assert (promoted.version, promoted.from_version, promoted.cutoff) == (3, 2, "2018-04-30")
    assert promoted.by
    assert promoted.why == "all gates passed."
    assert json.loads(promoted.gates) == {"roc_auc_at_least": None, "roc_auc_no_worse_than_champion": None}
    assert registered.instance.get_run_by_id(str(promoted.dagster_run)) is not None
    assert (last.event, last.version, last.from_version, last.why) == ("rolled_back", 2, 3, "complaints")
    shown = registered.instance.fetch_materializations(ledger.ledger_key("payments"), limit=2).records
    events = [one.asset_materialization for one in shown]
    newest, before = [{name: value.value for name, value in one.metadata.items()} for one in events if one]
    assert newest["event"] == "rolled_back"
    assert (newest["version"], newest["from_version"], newest["why"]) == (2, 3, "complaints")
    assert before["gates"] == {"roc_auc_at_least": "passed", "roc_auc_no_worse_than_champion": "passed"}


def test_entries_keep_their_order_though_a_clock_be_behind(registered: Project) -> None:
    work = registered.work("payments")
    before = ledger.read(work)
    assert before.last is not None
    ahead = Entry(**{**vars(before.last), "id": "ahead", "at": before.last.at + timedelta(hours=1)})
    assert ledger.write(work, before, ahead)
    made = rollback(work, None, "complaints")
    assert made.at > ahead.at
    assert ledger.read(work).last == made


def test_a_ledger_with_a_further_column_is_read(registered: Project) -> None:
    work = registered.work("payments")
    before = ledger.read(work).entries
    DeltaTable(work.lake.table(ledger.ledger_key("payments")).address).alter.add_columns(Field("ticket", "string"))
    assert ledger.read(work).entries == before


def test_a_move_is_written_though_the_table_has_a_further_column(registered: Project) -> None:
    work = registered.work("payments")
    before = ledger.read(work).entries
    DeltaTable(work.lake.table(ledger.ledger_key("payments")).address).alter.add_columns(Field("ticket", "string"))
    made = rollback(work, None, "complaints")
    assert ledger.read(work).entries == [*before, made]


@pytest.mark.parametrize(
    "lost", [lambda table: table.restore(1), lambda table: shutil.rmtree(table.table_uri.removeprefix("file://"))]
)
def test_a_ledger_that_lacks_what_mlflow_follows_moves_nothing(
    registered: Project, lost: Callable[[DeltaTable], object]
) -> None:
    work = registered.work("payments")
    address = work.lake.address(ledger.ledger_key("payments"))
    lost(DeltaTable(address))
    left = ledger.read(work)
    told = (
        rf"^the ledger of payments lacks the move that .* right MLflow in MLFLOW_TRACKING_URI, restore the ledger, "
        rf"{address}, or, if the move is lost, remove the tag 'ledger'"
    )
    for order in (lambda: rollback(work, None, "complaints"), lambda: promote(work, 1, "in a hurry")):
        with pytest.raises(ledger.LedgerError, match=told):
            order()
    assert (alias(work), ledger.read(work)) == (3, left)
    MlflowClient(work.tracking.uri).delete_registered_model_tag("payments", "ledger")
    found = ledger.settled(work)
    assert found.champion is not None
    assert found.book.last is not None
    assert (found.champion.number, found.book.last.version) == (3, 3)


def test_who_looks_at_another_mlflow_spoils_no_ledger(registered: Project) -> None:
    work = registered.work("payments")
    held = promote(work, 2, "it is known", datetime.now(UTC).date())
    uri = f"sqlite:///{registered.folder / 'typo.db'}"
    elsewhere = replace(work, tracking=work.tracking.model_copy(update={"uri": uri}))
    told = (
        rf"^MLflow at sqlite:.* has no version 2 of payments of run {held.mlflow_run}, which is champion in the "
        "ledger: it is older, or another one; name the right one in MLFLOW_TRACKING_URI"
    )
    with pytest.raises(ledger.LedgerError, match=told):
        rollback(elsewhere, None, "complaints")
    assert ledger.read(work).last == held
    assert rollback(work, None, "complaints").version == 3


def test_a_lost_registry_is_entered_once(registered: Project) -> None:
    (registered.folder / ".ml_platform" / "mlflow.db").unlink()
    work = registered.work("payments")
    found, champion, reason, *_ = ledger.settled(work, begin_anew=True)
    assert champion is None
    assert reason is not None
    assert reason.startswith("MLflow has no version 3 any more, which was champion; none is now")
    assert found.last is not None
    assert (found.last.event, found.last.version, found.last.from_version) == ("moved_in_mlflow", None, 3)
    assert ledger.settled(work)[:3] == (found, None, None)


@pytest.mark.parametrize("number", [1, 4])
def test_who_comes_back_from_another_mlflow_moves_nothing_until_a_model_is_judged(
    registered: Project, number: int
) -> None:
    work = registered.work("payments")
    before = ledger.read(work)
    made = ledger.entry(work, before, "promoted", replace(work.version(1), number=number, run_id="another"), "so")
    table = work.lake.table(ledger.ledger_key("payments"))
    assert table.append_after(before.commit, pl.DataFrame([asdict(made)], schema=COLUMNS))
    told = f"^MLflow at sqlite:.* has no version {number} of payments of run another, which is champion in the ledger"
    orders: list[Callable[[], object]] = [
        lambda: rollback(work, None, "complaints"),
        lambda: promote(work, 1, "in a hurry"),
        lambda: ledger.settled(work),
    ]
    for order in orders:
        with pytest.raises(ledger.LedgerError, match=told):
            order()
    assert (alias(work), ledger.read(work).last) == (3, made)
    found = ledger.settled(work, begin_anew=True)
    assert found.moved is not None
    assert found.moved.startswith(f"MLflow has no version {number} any more, which was champion; version 3 is now")
    assert ledger.settled(work)[:3] == (found.book, work.version(3), None)


def test_versions_of_the_same_number_are_told_apart_by_their_runs(registered: Project) -> None:
    work = registered.work("payments")
    rollback(work, None, "complaints")
    found, left = ledger.read(work), work.version(3)
    assert found.left([left]) == found.last
    assert found.of(left) == found.entries[2:]
    another = replace(left, run_id="another")
    assert found.left([another]) is None
    assert found.of(another) == []


def test_a_ledger_of_before_the_runs_were_noted_goes_on(registered: Project) -> None:
    work = registered.work("payments")
    before, table = ledger.read(work).entries, work.lake.table(ledger.ledger_key("payments"))
    rows = table.scan().collect().drop("mlflow_run")
    shutil.rmtree(table.address)
    table.append(rows)
    assert ledger.read(work).entries == [replace(one, mlflow_run=None) for one in before]
    assert ledger.settled(work).champion == work.version(3)
    made = rollback(work, None, "complaints")
    assert [one.mlflow_run for one in ledger.read(work).entries] == [None, None, None, work.version(2).run_id]
    assert (made.version, alias(work)) == (2, 2)
    assert rollback(work, None, "more complaints").version == 1


def test_a_rollback_leads_past_versions_that_mlflow_has_no_more(registered: Project) -> None:
    work = registered.work("payments")
    MlflowClient(work.tracking.uri).delete_model_version("payments", "2")
    assert rollback(work, None, "complaints").version == 1


@pytest.mark.parametrize("step", ["crown", "mark_ledger"])
def test_an_order_that_is_cut_off_where_there_was_no_champion_is_completed(
    registered: Project, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    work = registered.work("payments")
    MlflowClient(work.tracking.uri).delete_registered_model_alias("payments", "champion")
    with monkeypatch.context() as patched:
        patched.setattr(Tracking, "mark_ledger", Mock(side_effect=ConnectionError))
        with pytest.raises(ConnectionError):
            ledger.settled(work)
    ledger.settled(work)
    with cut_off(monkeypatch, step):
        promote(work, 2, "in a hurry")
    made = promote(work, 2, "in a hurry")
    assert [(one.event, one.version) for one in ledger.read(work).entries[3:]] == [
        ("moved_in_mlflow", None),
        ("overridden", 2),
    ]
    assert (alias(work), ledger.read(work).last) == (2, made)


def test_the_sensor_completes_a_move_that_was_cut_off(registered: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    work = registered.work("payments")
    with cut_off(monkeypatch, "crown"):
        promote(work, 2, "in a hurry")
    assert sensor_says(registered) == "The champion is the one of the ledger."
    assert alias(work) == 2


def test_nothing_was_ever_promoted(payments: Project) -> None:
    assert ledger.settled(payments.work("payments"))[:3] == (Book(None, []), None, None)


def test_who_looks_while_others_move_takes_no_move_for_one_by_hand(registered: Project) -> None:
    numbers = [1, 2, 3] * 4

    def move(number: int) -> Entry:
        return promote(registered.work("payments"), number, str(uuid4()))

    def look() -> list[str | None]:
        return [ledger.settled(registered.work("payments")).moved for _ in numbers]

    with ThreadPoolExecutor(4) as threads:
        looks = [threads.submit(look) for _ in range(2)]
        moves = [threads.submit(move, number) for number in numbers]
        assert {one for each in looks for one in each.result()} == {None}
    refused = [str(one.exception()) for one in moves if one.exception()]
    assert all(one.endswith("is champion already.") for one in refused)
    events = [one.event for one in ledger.read(registered.work("payments")).entries[3:]]
    assert events == ["overridden"] * (len(numbers) - len(refused))


@contextmanager
def cut_off(monkeypatch: pytest.MonkeyPatch, step: str) -> Iterator[None]:
    """A move that is made in the block ends at a step after its entry, and says so."""
    with monkeypatch.context() as patched:
        patched.setattr(Tracking, step, Mock(side_effect=ConnectionError))
        told = r"^version \d is champion in the ledger, and MLflow or Dagster could not follow \(ConnectionError\)"
        with pytest.raises(UserError, match=told):
            yield


@pytest.mark.parametrize("step", ["crown", "mark_ledger"])
def test_an_order_that_was_cut_off_and_is_given_again_is_one_order(
    registered: Project, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def order(made: Callable[[], Entry]) -> Entry:
        with cut_off(monkeypatch, step):
            made()
        made()
        again = made()  # that answer came to nobody, either
        ledger.answered(work, again)
        return again

    work = registered.work("payments")
    back = order(lambda: rollback(work, None, "complaints"))
    assert (back.event, back.version, back.from_version) == ("rolled_back", 2, 3)
    up = order(lambda: promote(work, 3, "it was not the model"))
    assert (up.event, up.version, up.from_version) == ("overridden", 3, 2)
    found = ledger.settled(work)
    assert found.book.entries[3:] == [back, up]
    assert found.champion is not None
    assert (found.champion.number, found.unanswered) == (3, None)
    # the same words are one more order once they were answered
    ledger.answered(work, rollback(work, None, "complaints"))
    assert rollback(work, None, "complaints").version == 1


@pytest.mark.parametrize("step", ["crown", "mark_ledger"])
def test_an_order_that_others_have_completed_is_one_order_when_it_is_given_again(
    registered: Project, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    work = registered.work("payments")
    with cut_off(monkeypatch, step):
        rollback(work, None, "complaints")
    assert sensor_says(registered) == "The champion is the one of the ledger."
    assert alias(work) == 2
    assert rollback(work, None, "complaints").version == 2
    with cut_off(monkeypatch, step):
        promote(work, 3, "in a hurry")
    ledger.settled(work)
    with pytest.raises(UserError, match=r"^version 3 is champion already"):
        promote(work, 3, "another reason")
    made = promote(work, 3, "in a hurry")
    ledger.answered(work, made)
    with pytest.raises(UserError, match=r"^version 3 is champion already"):
        promote(work, 3, "in a hurry")
    assert [one.version for one in ledger.read(work).entries[3:]] == [2, 3]
    assert ledger.read(work).last == made


@pytest.mark.parametrize("step", ["append_after", "_tell", "mark_ledger"])
def test_the_check_says_that_the_alias_was_moved_though_the_look_that_noticed_was_cut_off(
    registered: Project, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    work, of = registered.work("payments"), {"append_after": Table, "_tell": ledger, "mark_ledger": Tracking}
    MlflowClient(work.tracking.uri).set_registered_model_alias("payments", "champion", "1")
    with monkeypatch.context() as patched:
        patched.setattr(of[step], step, Mock(side_effect=ConnectionError))
        with pytest.raises(ConnectionError):
            ledger.settled(work)
    said = "the alias champion was moved from version 3 to 1 in MLflow"
    assert sensor_says(registered).startswith(said)
    assert said_by_check(registered).startswith(said)
    assert sensor_says(registered) == "The champion is the one of the ledger."


def test_a_rollback_is_completed_though_the_version_that_it_left_was_deleted(
    registered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = registered.work("payments")
    with cut_off(monkeypatch, "crown"):
        rollback(work, None, "complaints")
    MlflowClient(work.tracking.uri).delete_model_version("payments", "3")
    assert rollback(work, None, "complaints").version == 2
    assert (alias(work), len(ledger.read(work).entries)) == (2, 4)


def test_what_is_noted_as_answered_is_the_newest_move(registered: Project) -> None:
    work = registered.work("payments")
    first, second = rollback(work, None, "complaints"), promote(work, 1, "in a hurry")
    ledger.answered(work, first)
    assert work.tracking.ledger_mark("payments") == Mark(second.id)
    ledger.answered(work, second)
    assert work.tracking.ledger_mark("payments") == Mark(second.id, answered=True)


def test_an_order_after_one_that_others_have_completed_is_another(
    registered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = registered.work("payments")
    with cut_off(monkeypatch, "crown"):
        rollback(work, None, "complaints")
    ledger.settled(work)
    assert rollback(work, None, "2 is bad, too").version == 1


def said_by_check(project: Project) -> str:
    """What the check says of an alias that was moved by hand, as a warning."""
    key = dg.AssetCheckKey(dg.AssetKey(["payments", "promotion"]), ledger.IN_LEDGER)
    (record,) = project.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.event is not None
    assert record.event.dagster_event is not None
    told = record.event.dagster_event.asset_check_evaluation_data
    assert (told.passed, told.severity) == (False, dg.AssetCheckSeverity.WARN)
    return str(told.description)


def test_the_check_says_at_once_that_the_alias_was_moved_whoever_notices(registered: Project) -> None:
    client = MlflowClient(registered.work("payments").tracking.uri)
    client.set_registered_model_alias("payments", "champion", "1")
    rollback(registered.work("payments"), 2, "who was that?")
    moved = ledger.read(registered.work("payments")).entries[3]
    assert (moved.event, moved.version, moved.by) == ("moved_in_mlflow", 1, "unknown")
    assert said_by_check(registered).startswith("the alias champion was moved from version 3 to 1 in MLflow")


def test_a_champion_of_another_use_case_is_not_moved(registered: Project) -> None:
    client = MlflowClient(registered.work("payments").tracking.uri)
    client.set_model_version_tag("payments", "3", "use_case", "refunds")
    with pytest.raises(ledger.LedgerError, match=r"^the champion of payments is a model of the use case ref"):
        rollback(registered.work("payments"), None, "complaints")
    assert [one.event for one in ledger.read(registered.work("payments")).entries] == ["promoted"] * 3


def test_a_champion_that_mlflow_has_lost_is_replaced_by_the_version_that_is_named(registered: Project) -> None:
    work = registered.work("payments")
    MlflowClient(work.tracking.uri).delete_model_version("payments", "3")
    with pytest.raises(UserError, match="has no champion to roll back from; say which one: --to VERSION"):
        rollback(work, None, "it is gone")
    made = rollback(work, 2, "it is gone")
    assert (made.event, made.version, made.from_version) == ("rolled_back", 2, None)


def test_a_version_of_another_use_case_does_not_become_champion(registered: Project) -> None:
    work = registered.work("payments")
    MlflowClient(work.tracking.uri).set_model_version_tag("payments", "2", "use_case", "refunds")
    with pytest.raises(UserError, match=r"^version 2 cannot be champion: it is a model of the use case refunds; "):
        rollback(work, 2, "complaints")
    assert alias(work) == 3


def test_an_order_is_not_taken_for_the_one_before_it_that_only_lacks_its_mark(registered: Project) -> None:
    work = registered.work("payments")
    first = rollback(work, None, "complaints")
    MlflowClient(work.tracking.uri).delete_registered_model_tag("payments", "ledger")
    second = rollback(work, None, "2 is bad, too")
    assert (second.version, second.from_version) == (1, 2)
    assert ledger.read(work).entries[3:] == [first, second]


def test_an_order_that_had_no_effect_yet_is_the_one_that_another_gives(
    registered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = registered.work("payments")
    with cut_off(monkeypatch, "crown"):
        rollback(work, None, "complaints")
    assert rollback(work, None, "3 is bad").why == "complaints"
    assert alias(work) == 2


def test_an_alias_that_was_moved_after_an_order_was_cut_off_stays_and_is_entered(
    registered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = registered.work("payments")
    with cut_off(monkeypatch, "crown"):
        promote(work, 1, "in a hurry")
    MlflowClient(work.tracking.uri).set_registered_model_alias("payments", "champion", "2")
    found = ledger.settled(work)
    moves = [(one.event, one.from_version, one.version) for one in found.book.entries[3:]]
    assert moves == [("overridden", 3, 1), ("moved_in_mlflow", 1, 2)]
    assert alias(work) == 2
    assert ledger.settled(work).moved is None


def test_a_promotion_of_the_champion_sets_and_lifts_how_long_it_holds(registered: Project) -> None:
    work, today = registered.work("payments"), datetime.now(UTC).date()
    held = [promote(work, 3, "wait for the audit", until) for until in (today, today + timedelta(days=9), None)]
    assert [(one.version, one.from_version, one.until) for one in held][::2] == [(3, 3, today), (3, 3, None)]
    with pytest.raises(UserError, match=r"^version 3 is champion already"):
        promote(work, 3, "once more")
    assert rollback(work, None, "complaints").version == 2


def test_whoever_has_no_name_is_entered_by_number(registered: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", Mock(side_effect=KeyError("uid not found: 12345")))
    assert rollback(registered.work("payments"), None, "complaints").by == str(os.getuid())


def test_a_reason_that_no_table_holds_is_a_sentence(registered: Project) -> None:
    with pytest.raises(UserError, match=r"^the reason is not written in UTF-8; "):
        rollback(registered.work("payments"), None, "\udcff")
