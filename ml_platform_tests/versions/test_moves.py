"""A champion is put in place by hand only with a reason, and only where it fits; a rollback goes down the line."""

from datetime import UTC, date, datetime, timedelta
from unittest.mock import patch

import dagster as dg
import polars as pl
import pytest
from deltalake import write_deltalake
from mlflow import MlflowClient

from ml_platform.cli.project import Project
from ml_platform.errors import UserError
from ml_platform.resources.lake import Table
from ml_platform.resources.registry import INPUTS_TAG
from ml_platform.stages.work import Work
from ml_platform.versions.moves import misfit, promote, rollback


def champion(work: Work) -> int:
    found = work.tracking.champion("payments")
    assert found is not None
    return found.number


@pytest.mark.parametrize(
    ("number", "why", "until", "sentence"),
    [
        (2, " ", None, 'say why: --why "...", or why in a job.'),
        (9, "so", None, "payments has no version 9; the newest are 1, 2, 3."),
        (3, "so", None, "version 3 is champion already."),
        (2, "so", date(2018, 5, 31), "2018-05-31 is over; give a later day, or none."),
    ],
)
def test_a_promotion_that_cannot_be_is_a_sentence(
    registered: Project, number: int, why: str, until: date | None, sentence: str
) -> None:
    work = registered.work("payments")
    with pytest.raises(UserError) as raised:
        promote(work, number, why, until)
    assert str(raised.value) == sentence
    assert champion(work) == 3


def test_a_promotion_by_hand_says_who_why_and_until_when(registered: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    work, until = registered.work("payments"), datetime.now(UTC).date() + timedelta(days=3)
    made = promote(work, 1, " the new terminals ", until)
    assert (made.event, made.version, made.from_version, made.by, made.why, made.until) == (
        "overridden",
        1,
        3,
        "ada",
        "the new terminals",
        until,
    )
    assert champion(work) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows.drop("TX_AMOUNT"), "it needs the feature 'TX_AMOUNT', which is gone"),
        (
            lambda rows: rows.with_columns(pl.col("TX_AMOUNT").cast(pl.String)),
            "its feature 'TX_AMOUNT' is a number, and a text now",
        ),
    ],
)
def test_a_version_that_no_longer_fits_the_features_is_refused(
    registered: Project, change: object, reason: str
) -> None:
    assert callable(change)
    work = registered.work("payments")
    table = work.lake.table(dg.AssetKey(["payments", "features"]))
    changed = change(table.scan().collect())
    write_deltalake(table.address, changed, mode="overwrite", schema_mode="overwrite", partition_by=["partition"])
    sentence = f"version 2 cannot be champion: {reason}; restore it, train it again, or take another version."
    for move in (lambda: promote(work, 2, "so"), lambda: rollback(work, 2, "so")):
        with pytest.raises(UserError) as raised:
            move()
        assert str(raised.value) == sentence
    assert champion(work) == 3


def test_a_version_whose_feature_is_not_written_any_more_is_refused(registered: Project) -> None:
    work = registered.work("payments")
    table = work.lake.table(dg.AssetKey(["payments", "features"]))
    day = date(2018, 4, 29)
    rows = table.scan([day]).collect()
    table.overwrite(rows.with_columns(TX_AMOUNT=pl.lit(None, pl.Float64)), [day])
    assert misfit(work, work.version(2)) is None  # a day without values may come
    table.overwrite(rows.drop("TX_AMOUNT"), [day])
    assert "TX_AMOUNT" in table.scan().collect_schema()
    with pytest.raises(UserError, match=r"^version 2 cannot be champion: it needs the feature 'TX_AMOUNT', which is"):
        rollback(work, None, "complaints")
    table.overwrite(rows, [day])
    before = date(2018, 4, 28)
    table.overwrite(table.scan([before]).collect().drop("TX_AMOUNT"), [before])  # one day without is red by itself
    assert rollback(work, None, "complaints").version == 2


def test_a_version_fits_times_and_booleans_which_it_takes_as_numbers(registered: Project) -> None:
    work = registered.work("payments")
    schema = work.lake.table(dg.AssetKey(["payments", "features"])).newest_schema()
    for kind in (pl.Boolean(), pl.Int64(), pl.Datetime("us"), pl.Date(), pl.Duration("us"), pl.Time()):
        with patch.object(Table, "newest_schema", return_value={**schema, "TX_AMOUNT": kind}):
            assert misfit(work, work.version(2)) is None


def test_a_version_without_a_signature_is_refused(registered: Project) -> None:
    work = registered.work("payments")
    source = registered.folder / "unsigned"
    source.mkdir()
    (source / "MLmodel").write_text("flavors: {}\nutc_time_created: '2018-04-01'\n")
    MlflowClient(work.tracking.uri).create_model_version("payments", str(source), tags={"trained_from": "2018-04-01"})
    with pytest.raises(UserError, match=r"^version 4 cannot be champion: it has no signature"):
        promote(work, 4, "so")


def test_rollbacks_go_down_the_line_and_end(registered: Project) -> None:
    work = registered.work("payments")
    for number in (2, 1):
        assert rollback(work, None, f"complaints about {number + 1}").version == number
        assert champion(work) == number
    with pytest.raises(
        UserError,
        match=r"^there is no earlier champion that was not rolled back from; say which one: --to VERSION\.$",
    ):
        rollback(work, None, "complaints")
    assert rollback(work, 3, "it was not the model").version == 3


@pytest.mark.parametrize(
    ("to", "why", "sentence"),
    [
        (None, "", 'say why: --why "...", or why in a job.'),
        (3, "so", "version 3 is champion already."),
        (9, "so", "payments has no version 9; the newest are 1, 2, 3."),
    ],
)
def test_a_rollback_that_cannot_be_is_a_sentence(registered: Project, to: int | None, why: str, sentence: str) -> None:
    work = registered.work("payments")
    with pytest.raises(UserError) as raised:
        rollback(work, to, why)
    assert str(raised.value) == sentence
    assert champion(work) == 3


def test_where_nothing_ran_there_is_nothing_to_move(payments: Project) -> None:
    work = payments.work("payments")
    with pytest.raises(UserError, match=r"^payments has no champion to roll back from; say which one: --to VERSION\.$"):
        rollback(work, None, "so")
    with pytest.raises(UserError, match=r"^payments has no version 1; none was registered so far\.$"):
        promote(work, 1, "so")


def test_a_version_put_into_mlflow_by_hand_is_refused(registered: Project) -> None:
    work = registered.work("payments")
    version = work.tracking.version("payments", 1)
    assert version is not None
    MlflowClient(work.tracking.uri).create_model_version("payments", version.address)
    with pytest.raises(UserError, match=r"^version 4 cannot be champion: it was put into MLflow by hand, and nothing"):
        promote(work, 4, "so")


def test_the_only_version_is_told_as_one(registered: Project) -> None:
    work = registered.work("payments")
    for number in ("1", "2"):
        MlflowClient(work.tracking.uri).delete_model_version("payments", number)
    with pytest.raises(UserError, match=r"^payments has no version 9; the only one is 3\.$"):
        promote(work, 9, "so")


@pytest.mark.parametrize("damaged", ['{"TX_AMOUNT": "dou', "5", "null"])
def test_a_tag_that_was_changed_is_told_with_the_version(registered: Project, damaged: str) -> None:
    work = registered.work("payments")
    MlflowClient(work.tracking.uri).set_model_version_tag("payments", "2", INPUTS_TAG, damaged)
    with pytest.raises(UserError) as raised:
        promote(work, 2, "so")
    assert str(raised.value) == (
        f"the tag 'inputs' of version 2 of payments is not the JSON that was written, but '{damaged}'; restore it in "
        "MLflow, or train the model again."
    )
    assert champion(work) == 3
