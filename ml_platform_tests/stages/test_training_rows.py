"""The rows of a model's cutoff: which belong to which part, and in which order."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from ml_platform.cli.project import Project
from ml_platform.cli.run import run_use_case
from ml_platform.ml.folds import folds_of
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.training_rows import labelled_rows, split, with_columns
from ml_platform.stages.work import Work
from ml_platform.use_case.words import DATA, MODEL, Stage
from ml_platform_tests.tiny_project import CUTOFF, DAYS, FIRST, ROWS, Variant, payments, reasons, run, tiny_project


def once(_: date) -> pl.DataFrame:
    """The rows of all days in a table without days, some without a label."""
    days = [payments(FIRST + timedelta(days=number)) for number in range(DAYS)]
    rows = pl.concat(days).drop("at")
    return rows.with_columns(fraud=pl.when(pl.col("id") % 100 != 5).then("fraud"))


def halves(day: date) -> pl.DataFrame:
    """Rows at only four times a day, one in a hundred without a label."""
    rows = payments(day)
    return rows.with_columns(
        at=pl.col("at").dt.truncate("6h"), fraud=pl.when(pl.col("id") % 100 != 5).then("fraud")
    ).sort("id", descending=True)


TABLE: dict[str, Any] = {
    "partitions": "none",
    "source": {"type": "files", "path": "data/rows.parquet", "format": "parquet"},
    "model": {"every": None, "train_on": None, "hold_out": None},
    "label": {"known_after": None},
}
COLUMNS: dict[str, Any] = {"at": None, "other": {"type": "float64"}, "terminal": {"type": "int64"}}


def shared(share: float, **contract: Any) -> Variant:
    """A table of which such a share is held out."""
    changes = {**TABLE, "model": {**TABLE["model"], "hold_out_share": share}}
    return Variant({**changes, "contract": {"event_time": None, "columns": COLUMNS, **contract}}, None, once, days=1)


VARIANTS = {
    "daily": Variant(rows=halves),
    "by_row": Variant({**TABLE, "contract": {"event_time": None, "columns": COLUMNS}}, None, once, days=1),
    "by_terminal": Variant(
        {**TABLE, "contract": {"event_time": None, "columns": COLUMNS, "entity": "terminal"}}, None, once, days=1
    ),
    "inside": Variant(
        {
            **TABLE,
            "contract": {"event_time": None, "columns": COLUMNS, "entity": "terminal"},
            "features": {"transform": ".features:build"},
            "model": {
                **TABLE["model"],
                "hold_out_share": 0.4,  # a gate needs ten of the thirty terminals
                "threshold": {"maximize": "f1"},
                "search": {"space": {"C": [0.1, 1.0]}, "trials": 2, "folds": 2},
            },
            "gates": [{"metric": "roc_auc", "at_least": 0.5}],
        },
        """
import polars as pl


def build(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("id", "fraud", "amount")
""",
        once,
        days=1,
    ),
}


EMPTY = {
    "all_held_out": shared(1.0),
    "none_held_out": shared(0.0),
    "few_held_out": shared(0.001, entity="terminal"),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with tiny_project(tmp_path_factory.mktemp("rows"), VARIANTS | EMPTY) as opened:
        once(FIRST).write_parquet(opened.folder / "data" / "rows.parquet")
        assert run(opened, "daily")[0]
        for name in ("by_row", "by_terminal", "inside", *EMPTY):
            assert run_use_case(opened, name, None, None, stages=DATA, quiet=True)[0]
        yield opened


def parts(work: Work, cutoff: str | None) -> tuple[set[int], set[int], set[int]]:
    """The keys of training rows, hold-out and all known rows."""
    train, hold_out, known = (labelled_rows(work, cutoff, part)["id"] for part in ("train", "hold_out", "known"))
    return set(train), set(hold_out), set(known)


def test_training_rows_and_hold_out_are_disjoint_and_known_with_the_label_delay_between_them(project: Project) -> None:
    work = project.work("daily")
    train, hold_out, known = parts(work, CUTOFF)

    def of(*days: int) -> set[int]:
        return {1000 * (day - 1) + row for day in days for row in range(ROWS) if row % 100 != 5}

    assert train == of(1, 2, 3)
    assert hold_out == of(5, 6)
    assert known == of(1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize("name", ["by_row", "by_terminal"])
def test_without_partitions_the_parts_are_all_rows_with_labels(project: Project, name: str) -> None:
    work = project.work(name)
    train, hold_out, known = parts(work, None)
    labelled = set(once(FIRST).drop_nulls("fraud")["id"])
    assert not train & hold_out
    assert train | hold_out == known == labelled
    assert 0.1 < len(hold_out) / len(known) < 0.45


def test_entities_are_held_out_whole_where_one_is_declared_and_only_there(project: Project) -> None:
    shared = {}
    for name in ("by_row", "by_terminal"):
        work = project.work(name)
        train, hold_out = (
            with_columns(work, None, labelled_rows(work, None, part), ["terminal"])["terminal"]
            for part in ("train", "hold_out")
        )
        shared[name] = len(set(train) & set(hold_out))
    assert shared == {"by_row": 30, "by_terminal": 0}
    assert split(project.work("by_row").use_case, None)["hold_out"] == "25% by id"
    assert split(project.work("by_terminal").use_case, None)["train"] == "75% by terminal"


def test_an_entity_that_the_transform_leaves_out_is_whole_in_the_folds_too_and_no_feature(project: Project) -> None:
    work = project.work("inside")
    train = labelled_rows(work, None, "train")
    for fold in folds_of(work.use_case, train, 2):
        assert not set(fold.train["terminal"]) & set(fold.judged["terminal"])

    succeeded, outcome = run_use_case(project, "inside", None, None, stages=MODEL, quiet=True)
    assert succeeded, (outcome.errors, outcome.checks)
    champion = work.tracking.champion("inside")
    assert champion is not None
    assert champion.inputs == {"amount": "double"}
    assert work.tracking.load_model(champion.address).columns == ("amount",)
    report = work.reports.reports(asset_key(work.use_case, "evaluation"), [None])[None]
    assert set(report.importance) == {"amount"}


def test_rows_are_in_the_order_of_time_and_key_however_the_files_lie_and_as_of_any_commit(project: Project) -> None:
    work = project.work("daily")
    table = work.lake.table(dg.AssetKey(["daily", "features"]))
    version, before = table.version(), labelled_rows(work, CUTOFF, "train")
    assert before["at"].n_unique() < before.height
    assert before.equals(before.sort("at", "id"))

    rows, days = table.scan().collect(), [FIRST + timedelta(days=number) for number in range(DAYS)]
    versions = {day: f"{one}" for day, one in table.data_versions(days).items()}
    shuffled = rows[np.random.default_rng(0).permutation(rows.height)]
    table.overwrite(shuffled, days, versions)
    again = labelled_rows(work, CUTOFF, "train")
    assert again.equals(before)

    table.overwrite(shuffled.with_columns(amount=pl.lit(0.0)), days, versions)
    assert labelled_rows(work, CUTOFF, "train")["amount"].unique().to_list() == [0.0]
    assert labelled_rows(work, CUTOFF, "train", version).equals(before)
    assert labelled_rows(work, CUTOFF, "train", version + 1).equals(before)
    table.overwrite(rows, days, versions)


def test_columns_of_the_contract_come_to_the_rows_they_belong_to(project: Project) -> None:
    work = project.work("daily")
    rows = labelled_rows(work, CUTOFF, "hold_out").sample(fraction=1, shuffle=True, seed=1)
    found = with_columns(work, CUTOFF, rows, ["city", "amount"])
    days = pl.concat([payments(FIRST + timedelta(days=number)) for number in range(DAYS)])
    expected = rows.select("id").join(days, on="id", how="left", maintain_order="left").select("city", "amount")
    assert found.equals(expected)
    with pytest.raises(ValueError, match=r"there is no column 'citi' in contract or features; .*city"):
        with_columns(work, CUTOFF, rows, ["citi"])
    with pytest.raises(ValueError, match="there is") as raised:
        with_columns(work, CUTOFF, rows, ["xxxxxxxx"])
    assert str(raised.value).count("'amount'") == 1


@pytest.mark.parametrize(
    ("name", "stage", "reason"),
    [
        (
            "all_held_out",
            "model",
            "no rows with labels in 0% by id; deliver labels of more rows, or lower model.hold_out_share.",
        ),
        (
            "none_held_out",
            "evaluation",
            "no rows with labels in 0% by id; deliver labels of more rows, or raise model.hold_out_share.",
        ),
        (
            "few_held_out",
            "evaluation",
            "no rows with labels in 0% by terminal; deliver labels of more entities, or raise model.hold_out_share.",
        ),
    ],
)
def test_without_partitions_a_part_without_rows_is_not_mended_by_windows(
    project: Project, name: str, stage: Stage, reason: str
) -> None:
    succeeded, outcome = run_use_case(project, name, None, None, stages=MODEL, quiet=True)
    assert not succeeded
    assert reason in reasons(outcome, stage).values()
