"""Versions are compared on rows that neither was trained on."""

from dataclasses import replace

import dagster as dg
import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable, Field, write_deltalake
from mlflow import MlflowClient
from sklearn.metrics import roc_auc_score

from ml_platform.cli.project import Project
from ml_platform.errors import UserError
from ml_platform.ml.report import MODEL
from ml_platform.resources.registry import StoredModel, Version
from ml_platform.stages.opponent import BY_TAG, opponent, unseen
from ml_platform.stages.training_rows import held_out_by, labelled_rows
from ml_platform.stages.work import Work
from ml_platform.versions.compare import compare, page
from ml_platform_tests.examples import use_case
from ml_platform_tests.ml.test_model_card import Page
from ml_platform_tests.resources.test_tracking import in_asset
from ml_platform_tests.versions.test_reproduce import trained_again

CUTOFF = "2018-04-30"


def version_of(work: Work, number: int) -> Version:
    found = work.tracking.version("payments", number)
    assert found is not None
    return found


def test_a_version_does_not_differ_from_itself(registered: Project) -> None:
    work = registered.work("payments")
    found = compare(work, version_of(work, 3), version_of(work, 3))
    assert found.differences
    assert {(one.point, one.low, one.high) for one in found.differences.values()} == {(0.0, 0.0, 0.0)}


def test_two_versions_are_compared_on_the_newer_one_s_hold_out_and_the_sign_is_that_of_right_minus_left(
    registered: Project,
) -> None:
    work = registered.work("payments")
    found = compare(work, version_of(work, 1), version_of(work, 3))
    back = compare(work, version_of(work, 3), version_of(work, 1))
    assert found.hold_out_of == back.hold_out_of == 3
    assert found.rows == back.rows == labelled_rows(work, CUTOFF, "hold_out").height
    for name, one in found.differences.items():
        assert one.point == pytest.approx(-back.differences[name].point)
    rows = labelled_rows(work, CUTOFF, "hold_out")
    left, right = (
        roc_auc_score(rows["TX_FRAUD"], work.tracking.load_model(version_of(work, number).address).predict(rows))
        for number in (1, 3)
    )
    assert found.differences["roc_auc"].point == pytest.approx(right - left)
    assert right != left


def test_each_of_two_versions_decides_at_its_own_threshold(registered: Project) -> None:
    work = trained_again(registered, "train_on: 3 days", "train_on: 3 days\n    threshold: 0.01")
    before, after = version_of(work, 3), version_of(work, 4)
    found = compare(work, before, after).differences
    assert found["roc_auc"].point == 0
    assert found["recall"].point > 0
    report = work.reports.reports(dg.AssetKey(["payments", "evaluation"]), [CUTOFF])[CUTOFF]
    assert opponent(work, before, StoredModel(after.run_id, after.address), report, CUTOFF).threshold == 0.5


def test_rows_that_one_of_them_was_trained_on_are_left_out(registered: Project) -> None:
    work = registered.work("payments")
    left, right, rows = version_of(work, 1), version_of(work, 3), labelled_rows(work, CUTOFF, "hold_out")
    tags = {**left.tags, "trained_from": "2018-04-20T00:00:00", "trained_until": "2018-04-26T00:00:00"}
    seen = (rows["TX_DATETIME"].dt.day() < 26).sum()
    assert 0 < seen < rows.height
    assert compare(work, replace(left, tags=tags), right).rows == rows.height - seen
    with pytest.raises(UserError, match=r"^there are no rows that neither version 1 nor 3 was trained on"):
        compare(work, replace(left, tags={**tags, "trained_until": "2018-05-26T00:00:00"}), right)


def test_the_champion_is_judged_on_the_challenger_s_rows_in_their_order(registered: Project) -> None:
    work = registered.work("payments")
    report = work.reports.reports(dg.AssetKey(["payments", "evaluation"]), [CUTOFF])[CUTOFF]
    # the challenger as its own opponent has its own scores, row by row
    own = version_of(work, 3)
    found = opponent(work, own, StoredModel(own.run_id, own.address), report, CUTOFF)
    np.testing.assert_allclose(found.scores, report.scores[MODEL].to_numpy(), rtol=0, atol=1e-12)
    assert found.rows is not None
    assert found.rows.all()
    rows = labelled_rows(work, CUTOFF, "hold_out")
    tags = {"trained_from": "2018-04-26T00:00:00", "trained_until": "2018-04-27T00:00:00"}
    mask = unseen(work, tags, CUTOFF, rows)
    assert mask.to_list() == [day != 26 for day in rows["TX_DATETIME"].dt.day()]


@pytest.mark.parametrize("is_left", [False, True], ids=["not in the table", "there without values"])
def test_a_champion_that_needs_a_feature_which_is_gone_is_a_sentence(registered: Project, *, is_left: bool) -> None:
    work = registered.work("payments")
    report = work.reports.reports(dg.AssetKey(["payments", "evaluation"]), [CUTOFF])[CUTOFF]
    own = version_of(work, 3)
    rows = labelled_rows(work, CUTOFF, "hold_out").with_columns(age=pl.lit(1.0))

    def train(context: dg.AssetExecutionContext) -> StoredModel:
        with work.tracking.run(context, "payments", "2018-04-01") as run:
            model = work.tracking.load_model(own.address)
            of_more = replace(model, columns=(*model.columns, "age"), run_id=run.mlflow_run_id)
            return work.tracking.store_model(of_more, rows)

    earlier: StoredModel = in_asset(train)
    if is_left:
        table = DeltaTable(work.lake.table(dg.AssetKey(["payments", "features"])).address)
        table.alter.add_columns(Field("age", "double"))
    with pytest.raises(
        ValueError,
        match=r"^the champion, version 3, needs the feature 'age', which the features lack; make them with it, or",
    ):
        opponent(work, replace(own, address=earlier.address), StoredModel(own.run_id, own.address), report, CUTOFF)


def test_without_partitions_the_share_held_out_is_what_a_version_was_not_trained_on(registered: Project) -> None:
    work = replace(registered.work("payments"), use_case=use_case(partitions="none"))
    rows = pl.DataFrame({name: range(1000) for name in held_out_by(work.use_case)})
    masks = {
        share: unseen(work, {"hold_out_share": share, "held_out_by": '["id"]'}, None, rows) for share in ("0.2", "0.4")
    }
    assert 150 < masks["0.2"].sum() < 250
    assert 350 < masks["0.4"].sum() < 450
    assert (masks["0.4"] | ~masks["0.2"]).all()


def test_a_tag_on_what_was_held_out_that_was_changed_is_told_with_the_version(registered: Project) -> None:
    work = replace(registered.work("payments"), use_case=use_case(partitions="none", registry={"name": "payments"}))
    for number in ("1", "3"):
        MlflowClient(work.tracking.uri).set_model_version_tag("payments", number, BY_TAG, "id")
    changed = {"hold_out_share": "0.2", BY_TAG: "id"}
    with pytest.raises(UserError, match=r"^the tag 'held_out_by' of versions 1, 3 of payments is not the JSON"):
        unseen(work, changed, None, pl.DataFrame({"id": [1]}))


def test_with_an_entity_a_difference_is_that_of_entities(registered: Project) -> None:
    work = registered.work("payments")
    contract = work.use_case.contract.model_copy(update={"entity": "CUSTOMER_ID"})
    of_entities = replace(work, use_case=work.use_case.model_copy(update={"contract": contract}))
    row, entity = (
        compare(one, version_of(work, 1), version_of(work, 3)).differences["roc_auc"] for one in (work, of_entities)
    )
    assert row.point == entity.point
    assert (row.low, row.high) != (entity.low, entity.high)


def test_the_page_has_both_versions_and_needs_no_other_file(registered: Project) -> None:
    work = registered.work("payments")
    text = page(work, compare(work, version_of(work, 2), version_of(work, 3)))
    assert "payments 2" in text
    assert "payments 3" in text
    assert 'src="http' not in text
    assert "<link" not in text
    assert Page(text).rows("Metrics")["roc_auc"][3] in {"better", "worse", "not surely different"}


def test_a_version_that_no_longer_fits_the_features_is_not_compared(registered: Project) -> None:
    work = registered.work("payments")
    table = work.lake.table(dg.AssetKey(["payments", "features"]))
    changed = table.scan().collect().drop("TX_AMOUNT")
    write_deltalake(table.address, changed, mode="overwrite", schema_mode="overwrite", partition_by=["partition"])
    with pytest.raises(UserError, match=r"^version 2 cannot be compared: it needs the feature 'TX_AMOUNT', which is"):
        compare(work, version_of(work, 2), version_of(work, 3))
