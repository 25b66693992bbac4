"""Listings of files: which partition each belongs to, and what a listing that was kept says later."""

import os
from pathlib import Path

import pytest

from ml_platform.automation.listing import digest_of, keep, kept, listed, put_there
from ml_platform.resources.lake import Lake

DAYS = {"2024-01-01", "2024-01-02"}


@pytest.mark.parametrize(
    ("pattern", "name", "partition"),
    [
        ("{partition}.csv", "2024-01-01.csv", "2024-01-01"),
        ("{partition}.csv", "2024-01-03.csv", None),  # not over yet
        ("{partition}.csv", "2024-01-01.parquet", None),
        ("{partition}/*.csv", "2024-01-02/part-1.csv", "2024-01-02"),
        ("{partition}/sales-{partition}.csv", "2024-01-02/sales-2024-01-02.csv", "2024-01-02"),
        ("{partition}/sales-{partition}.csv", "2024-01-02/sales-2024-01-01.csv", None),
        ("*/{partition}.csv", "2023-12-31/2024-01-01.csv", "2024-01-01"),
        ("sent-2024-01-01/{partition}.csv", "sent-2024-01-01/2024-01-02.csv", "2024-01-02"),
        ("shop-[ab]-{partition}.csv", "shop-b-2024-01-01.csv", "2024-01-01"),
    ],
)
def test_a_file_belongs_to_the_partition_that_reads_it(
    tmp_path: Path, pattern: str, name: str, partition: str | None
) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("id")
    found = listed(f"{tmp_path}/{pattern}", DAYS)
    assert [(one.partition, one.path, one.size) for one in found] == ([(partition, str(file), 2)] if partition else [])


def test_a_listing_is_kept_until_the_one_after_the_next(tmp_path: Path) -> None:
    lake = Lake(root=str(tmp_path / "lake"))
    listings, digests = [], list[str | None]([None])
    for number in range(3):
        (tmp_path / "2024-01-01.csv").write_text("a\n" * (number + 1))
        listings.append(listed(f"{tmp_path}/{{partition}}.csv", DAYS))
        digests.append(keep(lake, "sales", listings[-1], digests[-1]))
        assert digests[-1] == digest_of(listings[-1])
    assert kept(lake, "sales", digests[-1]) == listings[-1]
    assert kept(lake, "sales", digests[-2]) == listings[-2]  # of a tick that was cut off, and is done again
    assert kept(lake, "sales", None) == set()
    assert kept(lake, "sales", digests[1]) == set()
    assert len(set(digests)) == 4
    assert len(list((tmp_path / "lake" / "listings" / "sales").iterdir())) == 2


def test_an_old_file_is_put_there_when_it_comes(tmp_path: Path) -> None:
    file = tmp_path / "2024-01-01.csv"
    file.write_text("id")
    os.utime(file, (0, 0))
    found = listed(f"{tmp_path}/{{partition}}.csv", DAYS)
    assert [one.modified for one in found] == [0]
    assert put_there(found) == pytest.approx(file.stat().st_ctime)
