"""Files as raw data: each partition from its own files or cut from one, and a bad file only the problem of its own."""

import errno
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from upath import UPath

from ml_platform.ml.contract import coerce
from ml_platform.partitions import data_partitions, windows_of
from ml_platform.sources import files, retrying
from ml_platform.sources.delivery import Delivery, NotDeliveredError, Session
from ml_platform.use_case import FilesSource, UseCase

CHANGED = "changed while it was read; run again when it is complete."
DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]
SALES = pl.DataFrame(
    {"id": [1, 2], "at": [datetime(2024, 1, 1, 8), datetime(2024, 1, 1, 20)], "amount": [1.5, None], "shop": ["ä", "b"]}
)


def use_case(path: Path | str, kind: str = "parquet", partitions: Any = None) -> UseCase:
    return UseCase.model_validate(
        {
            "name": "shop",
            "task": "regression",
            "source": {"type": "files", "path": str(path), "format": kind},
            "partitions": partitions or {"every": "day", "start": "2024-01-01", "end": "2024-04-01"},
            "contract": {
                "key": ["id"],
                "event_time": "at",
                "columns": {"id": {"type": "int64"}, "at": {"type": "datetime"}, "amount": {"type": "float64"}},
            },
            "label": {"column": "amount"},
            "model": {"estimator": "sklearn.linear_model.Ridge", "train_on": "7 days", "hold_out": "2 days"},
            "registry": {"name": "shop"},
        }
    )


def read(case: UseCase, wanted: Sequence[str] | None = None) -> list[Delivery]:
    """Read the source for partitions, or as a whole."""
    assert isinstance(case.source, FilesSource)
    definition = data_partitions(case)
    if definition is None or wanted is None:
        return files.read(case.source, case, None, Session())
    return files.read(case.source, case, windows_of(definition, wanted), Session())


def read_whole(path: Path | str, kind: str = "parquet") -> Delivery:
    (delivery,) = read(use_case(path, kind, "none"))
    return delivery


def problem_of(delivery: Delivery) -> str:
    """Why a delivery has no rows."""
    with pytest.raises(NotDeliveredError) as caught:
        delivery.load()
    return str(caught.value)


def write(rows: pl.DataFrame, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".parquet":
            rows.write_parquet(path)
        case ".csv":
            rows.write_csv(path)
        case ".jsonl":
            rows.write_ndjson(path)
    return path


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_each_partition_reads_the_file_that_carries_its_key(tmp_path: Path, kind: str) -> None:
    for number, day in enumerate(DAYS):
        write(SALES.with_columns(id=pl.col("id") + 10 * number), tmp_path / f"{day}.{kind}")
    case = use_case(tmp_path / f"{{partition}}.{kind}", kind)
    found = read(case, [DAYS[0], DAYS[2]])
    assert [one.partition for one in found] == [DAYS[0], DAYS[2]]
    typed = [coerce(one.load(), case.contract) for one in found]
    assert [rows["id"].to_list() for rows in typed] == [[1, 2], [21, 22]]
    for rows in typed:
        expected = SALES.select("at", "amount")
        assert_frame_equal(rows.select("at", "amount"), expected)
        assert rows["rescued"].is_null().all()


def test_a_partition_may_have_several_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, first in (("b", 3), ("a", 1)):
        write(SALES.with_columns(id=pl.Series([first, first + 1])), tmp_path / DAYS[0] / f"{name}.parquet")
    (delivery,) = read(use_case(tmp_path / "{partition}" / "*.parquet"), DAYS[:1])
    assert delivery.load()["id"].to_list() == [1, 2, 3, 4]


def test_a_path_is_relative_to_where_the_project_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(SALES, tmp_path / "data" / "all.parquet")
    monkeypatch.chdir(tmp_path)
    assert_frame_equal(read_whole("data/*.parquet").load(), SALES)


def test_a_missing_file_is_the_problem_of_its_partition_alone(tmp_path: Path) -> None:
    for day in (DAYS[0], DAYS[2]):
        write(SALES, tmp_path / f"{day}.parquet")
    good, missing, other = read(use_case(tmp_path / "{partition}.parquet"), DAYS)
    assert missing.partition == DAYS[1]
    assert problem_of(missing) == f"no file {tmp_path}/2024-01-02.parquet; check source.path, or deliver the file."
    assert_frame_equal(good.load(), SALES)
    assert_frame_equal(other.load(), SALES)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("parquet", b""),
        ("parquet", b"PAR1 and then nothing"),
        ("csv", b""),
        ("csv", b"id,at\n1,2,3,4\n"),
        ("csv", "id,at\n1,é\n".encode("latin-1")),
        ("jsonl", b""),
        ("jsonl", b'{"id": 1}\nnot json\n'),
        ("jsonl", b"[1, 2]\n"),
    ],
)
def test_an_unreadable_file_is_the_problem_of_its_partition_alone(tmp_path: Path, kind: str, content: bytes) -> None:
    write(SALES, tmp_path / f"{DAYS[0]}.{kind}")
    bad = tmp_path / f"{DAYS[1]}.{kind}"
    bad.write_bytes(content)
    good, unreadable = read(use_case(tmp_path / f"{{partition}}.{kind}", kind), DAYS[:2])
    assert good.load().height == 2
    assert problem_of(unreadable).startswith(f"{bad} cannot be read as {kind}: ")


def test_files_that_do_not_fit_together_are_the_problem_of_their_partition_alone(tmp_path: Path) -> None:
    write(SALES, tmp_path / DAYS[0] / "a.parquet")
    write(SALES, tmp_path / DAYS[1] / "a.parquet")
    write(SALES.with_columns(at=pl.concat_list("at")), tmp_path / DAYS[1] / "b.parquet")
    good, bad = read(use_case(tmp_path / "{partition}" / "*.parquet"), DAYS[:2])
    assert_frame_equal(good.load(), SALES)
    assert problem_of(bad).startswith(f"the files {tmp_path}/2024-01-02/*.parquet do not fit together: ")


def test_times_with_and_without_a_zone_become_text(tmp_path: Path) -> None:
    write(SALES, tmp_path / "a.parquet")
    write(SALES.with_columns(pl.col("at").dt.replace_time_zone("UTC")), tmp_path / "b.parquet")
    typed = coerce(read_whole(tmp_path / "*.parquet").load(), use_case("x").contract)
    assert typed["at"].to_list() == SALES["at"].to_list() * 2


def test_a_folder_in_the_place_of_a_file_is_the_problem_of_its_partition_alone(tmp_path: Path) -> None:
    SALES.write_parquet(tmp_path / DAYS[0])
    write(SALES, tmp_path / DAYS[1] / "part.parquet")
    good, folder = read(use_case(tmp_path / "{partition}"), DAYS[:2])
    assert_frame_equal(good.load(), SALES)
    assert problem_of(folder) == f"no file {tmp_path}/2024-01-02; check source.path, or deliver the file."


def test_a_file_is_read_when_its_rows_are_wanted(tmp_path: Path) -> None:
    # told apart by its bytes alone: nothing is read of what is there already
    path = tmp_path / f"{DAYS[0]}.parquet"
    path.write_bytes(b"no parquet")
    (delivery,) = read(use_case(tmp_path / "{partition}.parquet"), DAYS[:1])
    assert len(delivery.fingerprint) == 64


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_file_that_changes_before_it_is_read_is_the_problem_of_its_partition(tmp_path: Path, kind: str) -> None:
    path = write(SALES, tmp_path / f"sales.{kind}")
    delivery = read_whole(path, kind)
    write(SALES.with_columns(amount=2.5), path)
    assert problem_of(delivery) == f"{path} cannot be read as {kind}: it {CHANGED}"
    assert read_whole(path, kind).load()["id"].len() == 2


def while_it_is_read(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let something happen after the bytes of the next file are read."""
    read_bytes = Path.read_bytes

    def reading(path: Path) -> bytes:
        monkeypatch.undo()
        content = read_bytes(path)
        act()
        return content

    monkeypatch.setattr(Path, "read_bytes", reading)


def test_a_file_that_changes_while_it_is_read_is_the_problem_of_its_partition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in DAYS[:2]:
        write(SALES, tmp_path / f"{day}.csv")
    changing, other = read(use_case(tmp_path / "{partition}.csv", "csv"), DAYS[:2])
    while_it_is_read(monkeypatch, lambda: write(SALES.head(1), tmp_path / f"{DAYS[0]}.csv"))
    assert problem_of(changing).endswith(CHANGED)
    assert other.load().height == 2


def test_a_file_that_vanishes_while_it_is_read_is_the_problem_of_its_partition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(SALES, tmp_path / "sales.csv")
    delivery = read_whole(path, "csv")
    while_it_is_read(monkeypatch, path.unlink)
    assert str(path) in problem_of(delivery)


def test_a_file_that_is_gone_when_it_is_wanted_is_the_problem_of_its_partition(tmp_path: Path) -> None:
    path = write(SALES, tmp_path / "sales.csv")
    delivery = read_whole(path, "csv")
    path.unlink()
    assert problem_of(delivery).startswith(f"{path} cannot be read as csv: ")


def test_csv_is_read_as_text_and_the_words_for_missing_as_missing(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_text('id,at,amount\n007,NA,""\n8,,null\nNULL, x ,1.50\n')
    assert_frame_equal(
        read_whole(path, "csv").load(),
        pl.DataFrame({"id": ["007", "8", None], "at": [None, None, " x "], "amount": [None, None, "1.50"]}),
    )


def test_integers_in_one_file_and_text_in_the_next_become_text(tmp_path: Path) -> None:
    write(SALES, tmp_path / "a.parquet")
    write(SALES.with_columns(id=pl.Series(["3", "no number"])), tmp_path / "b.parquet")
    delivery = read_whole(tmp_path / "*.parquet")
    assert delivery.load()["id"].to_list() == ["1", "2", "3", "no number"]
    typed = coerce(delivery.load(), use_case("x").contract)
    assert typed["id"].to_list() == [1, 2, 3, None]
    assert typed["rescued"].to_list() == [None, None, None, '{"id":"no number"}']


def test_large_integers_stay_exact_where_another_file_has_floats(tmp_path: Path) -> None:
    large = 2**53 + 1
    write(SALES.with_columns(id=pl.Series([large, large + 2])), tmp_path / "a.parquet")
    write(SALES.with_columns(id=pl.Series([3.0, None])), tmp_path / "b.parquet")
    typed = coerce(read_whole(tmp_path / "*.parquet").load(), use_case("x").contract)
    assert typed["id"].to_list() == [large, large + 2, 3, None]


def test_times_stay_times_where_another_file_has_numbers(tmp_path: Path) -> None:
    write(SALES, tmp_path / "a.parquet")
    write(SALES.with_columns(at=pl.Series([1, 2])), tmp_path / "b.parquet")
    typed = coerce(read_whole(tmp_path / "*.parquet").load(), use_case("x").contract)
    assert typed["at"].to_list()[:2] == SALES["at"].to_list()


def test_a_column_that_only_one_file_has_is_missing_in_the_rows_of_the_others(tmp_path: Path) -> None:
    write(SALES.drop("shop"), tmp_path / "a.parquet")
    write(SALES, tmp_path / "b.parquet")
    assert read_whole(tmp_path / "*.parquet").load()["shop"].to_list() == [None, None, "ä", "b"]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_one_file_is_cut_into_partitions_by_event_time(tmp_path: Path, kind: str) -> None:
    times = [
        datetime(2024, 1, 2, 23, 59, 59, 999999),
        datetime(2024, 1, 1),
        datetime(2024, 1, 3),
        datetime(2024, 1, 1, 5),
    ]
    rows = pl.DataFrame({"id": [1, 2, 3, 4], "at": times, "amount": [1.0] * 4})
    found = read(use_case(write(rows, tmp_path / f"all.{kind}"), kind), DAYS)
    assert [one.partition for one in found] == DAYS
    assert [[int(each) for each in one.load()["id"]] for one in found] == [[2, 4], [1], [3]]
    assert all(one.load().columns == rows.columns for one in found)


def test_a_partition_without_rows_in_the_whole_file_gets_no_rows(tmp_path: Path) -> None:
    found = read(use_case(write(SALES, tmp_path / "all.parquet")), DAYS)
    assert [one.load().height for one in found] == [2, 0, 0]
    assert found[1].load().schema == SALES.schema


def test_event_times_with_a_zone_are_cut_in_utc(tmp_path: Path) -> None:
    at = pl.Series([datetime(2024, 1, 2, 0, 30), datetime(2024, 1, 2, 12)]).dt.replace_time_zone("Europe/Berlin")
    found = read(use_case(write(SALES.with_columns(at=at), tmp_path / "all.parquet")), DAYS)
    assert [one.load()["id"].to_list() for one in found] == [[1], [2], []]


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ("week", {"2024-01-01": [1], "2024-01-08": [2], "2024-01-29": [3]}),
        ("month", {"2024-01-01": [1, 2, 3]}),
    ],
)
def test_weeks_begin_on_monday_and_months_on_their_first(
    tmp_path: Path, every: str, expected: dict[str, list[int]]
) -> None:
    rows = pl.DataFrame(
        {"id": [1, 2, 3], "at": [datetime(2024, 1, day, 23) for day in (7, 8, 31)], "amount": [1.0] * 3}
    )
    path = write(rows, tmp_path / "all.parquet")
    case = use_case(path, partitions={"every": every, "start": "2024-01-01", "end": "2024-03-01"})
    definition = data_partitions(case)
    assert definition is not None
    found = {one.partition: one.load()["id"].to_list() for one in read(case, definition.get_partition_keys())}
    assert {key: ids for key, ids in found.items() if ids} == expected


@pytest.mark.parametrize(
    "at",
    [
        pl.Series([None, datetime(2024, 1, 2), None, datetime(2024, 1, 3)]),
        pl.Series(["soon", "2024-01-02 08:00", "", "2024-01-03"]),
    ],
    ids=["missing", "unreadable"],
)
def test_rows_without_an_event_time_are_delivered_once_with_the_first_partition(tmp_path: Path, at: pl.Series) -> None:
    rows = pl.DataFrame({"id": [1, 2, 3, 4], "at": at, "amount": [1.0] * 4})
    case = use_case(write(rows, tmp_path / "all.parquet"))
    together = read(case, DAYS)
    assert [one.load()["id"].to_list() for one in together] == [[1, 3], [2], [4]]
    alone = [read(case, [day])[0] for day in DAYS]
    assert [one.load()["id"].to_list() for one in alone] == [[1, 3], [2], [4]]


@pytest.mark.parametrize(("every", "start"), [("week", "2024-01-01"), ("month", "2024-01-01")])
def test_rows_without_an_event_time_come_with_the_first_week_or_month(tmp_path: Path, every: str, start: str) -> None:
    rows = pl.DataFrame({"id": [1, 2], "at": [None, datetime(2024, 2, 5)], "amount": [1.0] * 2})
    path = write(rows, tmp_path / "all.parquet")
    case = use_case(path, partitions={"every": every, "start": start, "end": "2024-03-01"})
    definition = data_partitions(case)
    assert definition is not None
    assert sum(one.load().height for one in read(case, definition.get_partition_keys())) == 2


def test_a_whole_file_that_is_missing_is_the_problem_of_every_partition(tmp_path: Path) -> None:
    found = read(use_case(tmp_path / "all.parquet"), DAYS)
    problem = f"no file {tmp_path}/all.parquet; check source.path, or deliver the file."
    assert {one.partition: problem_of(one) for one in found} == dict.fromkeys(DAYS, problem)


def test_a_whole_file_without_the_event_time_is_delivered_as_it_is(tmp_path: Path) -> None:
    found = read(use_case(write(SALES.drop("at"), tmp_path / "all.parquet")), DAYS[:2])
    for one in found:
        assert_frame_equal(one.load(), SALES.drop("at"))


def test_the_fingerprint_changes_with_the_content(tmp_path: Path) -> None:
    path = write(SALES, tmp_path / "sales.csv")
    first = read_whole(path, "csv").fingerprint
    write(SALES.with_columns(amount=2.5), path)
    assert len(first) == 64
    assert read_whole(path, "csv").fingerprint != first


def test_the_fingerprint_changes_with_the_content_only(tmp_path: Path) -> None:
    first = read_whole(write(SALES, tmp_path / "sales.csv"), "csv").fingerprint
    moved = write(SALES, tmp_path / "elsewhere" / "other.csv")
    assert read_whole(moved, "csv").fingerprint == first


def test_the_fingerprint_tells_where_one_file_ends_and_the_next_begins(tmp_path: Path) -> None:
    parts = {"one": ("id,at\n1,2\n", "id,at\n3,4\n5,6\n"), "other": ("id,at\n1,2\nid,at\n", "3,4\n5,6\n")}
    for folder, texts in parts.items():
        (tmp_path / folder).mkdir()
        for name, text in zip("ab", texts, strict=True):
            (tmp_path / folder / f"{name}.csv").write_text(text)
    one, other = (read_whole(tmp_path / folder / "*.csv", "csv").fingerprint for folder in parts)
    assert one != other


def test_a_file_that_is_missing_has_another_fingerprint_than_one_that_is_there(tmp_path: Path) -> None:
    missing = read_whole(tmp_path / "sales.csv", "csv").fingerprint
    assert read_whole(write(SALES, tmp_path / "sales.csv"), "csv").fingerprint != missing


def test_a_partition_cut_from_a_whole_file_changes_with_its_own_rows_only(tmp_path: Path) -> None:
    rows = pl.concat([SALES, SALES.with_columns(pl.col("at").dt.offset_by("1d"), id=pl.Series([3, 4]))])
    case = use_case(write(rows, tmp_path / "all.parquet"))
    first = [one.fingerprint for one in read(case, DAYS)]
    assert [one.fingerprint for one in read(case, DAYS[1:])] == first[1:]
    write(rows.with_columns(amount=pl.when(pl.col("id") == 3).then(9.5).otherwise("amount")), tmp_path / "all.parquet")
    second = [one.fingerprint for one in read(case, DAYS)]
    assert [before == after for before, after in zip(first, second, strict=True)] == [True, False, True]


def test_each_partition_of_its_own_files_has_its_own_fingerprint(tmp_path: Path) -> None:
    for day, rows in zip(DAYS, (SALES, SALES.head(1), SALES), strict=True):
        write(rows, tmp_path / f"{day}.parquet")
    first, second, third = (one.fingerprint for one in read(use_case(tmp_path / "{partition}.parquet"), DAYS))
    assert first == third
    assert first != second


def test_a_date_is_an_event_time(tmp_path: Path) -> None:
    rows = SALES.with_columns(at=pl.Series([date(2024, 1, 3), date(2024, 1, 1)]))
    found = read(use_case(write(rows, tmp_path / "all.parquet")), DAYS)
    assert [one.load()["id"].to_list() for one in found] == [[2], [], [1]]


def test_the_delimiter_that_a_file_seems_to_have_is_told(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_text("id;at;amount\n1;2024-01-01;2,5\n")
    said = f"{path} has no column of the contract's with the delimiter ','; it looks like ';', set source.delimiter."
    assert problem_of(read_whole(path, "csv")) == said


def read_in_chunks(case: UseCase, session: Session, every: int) -> list[Delivery]:
    """All partitions of a use case, some at a time as a run asks for them."""
    assert isinstance(case.source, FilesSource)
    definition = data_partitions(case)
    assert definition is not None
    keys = definition.get_partition_keys()
    chunks = [keys[at : at + every] for at in range(0, len(keys), every)]
    return [one for chunk in chunks for one in files.read(case.source, case, windows_of(definition, chunk), session)]


@pytest.mark.parametrize(("suffix", "reads"), [("csv", 1), ("jsonl", 1), ("parquet", 0)])
def test_one_file_of_many_partitions_is_read_whole_once_a_run_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, reads: int
) -> None:
    at = pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 7, 1), "12h", closed="left", eager=True)
    rows = pl.DataFrame({"id": range(at.len()), "at": at, "amount": 1.5})
    path = write(rows, tmp_path / f"all.{suffix}")
    case = use_case(path, suffix, {"every": "day", "start": "2024-01-01", "end": "2024-07-01"})
    read_bytes, opened = Path.read_bytes, list[Path]()
    monkeypatch.setattr(Path, "read_bytes", lambda self: opened.append(self) or read_bytes(self))
    found = read_in_chunks(case, Session(), every=8)
    assert len(found) == 182
    assert {one.load().height for one in found} == {2}
    assert len(opened) == reads


def test_of_a_parquet_file_only_the_row_groups_of_the_wanted_partitions_are_read(tmp_path: Path) -> None:
    at = pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 1, 11), "1h", closed="left", eager=True)
    rows = pl.DataFrame({"id": range(240), "at": at.dt.replace_time_zone("UTC"), "amount": 1.5})
    path = tmp_path / "all.parquet"
    rows.write_parquet(path, row_group_size=24, compression="uncompressed", use_pyarrow=True)
    content = bytearray(path.read_bytes())
    content[4:1000] = bytes(996)  # in the first row groups
    path.write_bytes(content)
    (third, first) = read(use_case(path), ["2024-01-09"]) + read(use_case(path), DAYS[:1])
    assert third.load()["id"].to_list() == list(range(192, 216))
    assert "it is damaged" in problem_of(first)


def test_rows_far_from_all_partitions_come_with_the_first_if_they_have_no_time(tmp_path: Path) -> None:
    times = pl.Series([datetime(1, 1, 1), None, datetime(2024, 1, 2), datetime(2030, 1, 1), datetime(9999, 12, 31)])
    beyond = pl.Series([2**62]).cast(pl.Datetime("us"))
    rows = pl.DataFrame({"id": range(6), "at": pl.concat([times, beyond]), "amount": 1.5})
    case = use_case(write(rows, tmp_path / "all.parquet"))
    assert [one.load()["id"].to_list() for one in read(case, DAYS)] == [[1, 5], [2], []]
    assert [read(case, [day])[0].load()["id"].to_list() for day in DAYS] == [[1, 5], [2], []]


def test_objects_of_a_store_are_read_like_files() -> None:
    for number, day in enumerate(DAYS[:2]):
        UPath(f"memory://shop/{day}.csv").write_text(f"id,at,amount\n{number},{day},1.5\n")
    case = use_case("memory://shop/{partition}.csv", "csv")
    first, second, missing = read(case, DAYS)
    assert [one.load()["id"].to_list() for one in (first, second)] == [["0"], ["1"]]
    assert problem_of(missing).startswith("no file memory://shop/2024-01-03.csv; ")
    UPath(f"memory://shop/{DAYS[0]}.csv").write_text("id,at,amount\n7,2024-01-01,2.5\n7,2024-01-01,2.5\n")
    assert problem_of(first).endswith(CHANGED)
    again, same = read(case, DAYS[:2])
    assert again.fingerprint != first.fingerprint
    assert same.fingerprint == second.fingerprint
    whole = read(use_case("memory://shop/*.csv", "csv"), DAYS[:2])
    assert [one.load()["id"].to_list() for one in whole] == [["7", "7"], ["1"]]


def test_a_store_that_no_library_is_there_for_is_a_sentence() -> None:
    (delivery,) = read(use_case("nowhere://shop/{partition}.csv", "csv"), DAYS[:1])
    assert problem_of(delivery).startswith("nowhere://shop/2024-01-01.csv cannot be reached: ")


def test_a_read_that_fails_for_a_moment_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "WAITS", (0.0,))
    delivery = read_whole(write(SALES, tmp_path / "sales.csv"), "csv")
    read_bytes, failures = Path.read_bytes, [OSError(errno.ESTALE, "Stale file handle")]

    def stale(path: Path) -> bytes:
        if failures:
            raise failures.pop()
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", stale)
    assert delivery.load().height == 2
