"""The stage `features` in the graph: further tables for the transform, and what becomes of dates, text and ids."""

from collections.abc import Iterator
from datetime import date

import dagster as dg
import polars as pl
import pytest

from ml_platform.cli.project import Project
from ml_platform.ml.preprocessing import LEFT_OUT
from ml_platform_tests.tiny_project import CUTOFF, DAYS, Variant, payments, reasons, run, tiny_project, verdicts

JOINED = """
import pandas as pd


def build(rows: pd.DataFrame, cities: pd.DataFrame) -> pd.DataFrame:
    known = cities.assign(people=cities["people"].astype(float))
    return rows[["id", "at", "fraud", "amount", "city"]].merge(known, on="city", how="left")
"""
CITIES = {"cities": {"type": "files", "path": "data/cities.csv", "format": "csv"}}
MIXED = """
import polars as pl


def build(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        "id", "at", "fraud", "amount", "city",
        moment="at",
        shop=pl.format("shop{}", pl.col("terminal") * 7 + pl.col("id") % 7),
        note=pl.format("paid {} in {}", "amount", "city"),
        code=pl.format("code{}", "id"),
    )
"""


def yes_or_no(day: date) -> pl.DataFrame:
    return payments(day).with_columns(fraud=pl.when(pl.col("fraud") == 1).then(pl.lit("Yes")).otherwise(pl.lit("No")))


VARIANTS = {
    "joined": Variant({"features": {"transform": ".features:build", "inputs": CITIES}}, JOINED),
    "mixed": Variant(
        {
            "contract": {"columns": {"terminal": {"type": "int64"}, "fraud": {"type": "string"}}},
            "label": {"positive": "Yes"},
            "model": {"estimator": None, "threshold": {"recall_at_least": 0.5}},
            "gates": [{"metric": "roc_auc", "better_than": "prior"}],
        },
        MIXED,
        yes_or_no,
    ),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with tiny_project(tmp_path_factory.mktemp("inputs"), VARIANTS) as opened:
        yield opened


def deliver(project: Project, people: dict[str, int]) -> None:
    table = pl.DataFrame({"city": list(people), "people": list(people.values())})
    table.write_csv(project.folder / "data" / "cities.csv")


def people(project: Project) -> dict[str, float]:
    """How many people each city has, as the features say."""
    features = project.work("joined").lake.table(dg.AssetKey(["joined", "features"])).scan()
    return dict(features.select("city", "people").unique().collect().iter_rows())


def test_an_input_of_the_transform_is_part_of_the_features_and_of_their_version(project: Project) -> None:
    deliver(project, {"Bern": 1, "Rome": 2, "Oslo": 3})
    assert run(project, "joined")[0]
    assert people(project) == {"Bern": 1.0, "Rome": 2.0, "Oslo": 3.0}
    assert run(project, "joined")[1].of("features").unchanged == DAYS

    # the fresh process makes the features again, of the same input
    assert run(project, "joined", "model")[0]

    deliver(project, {"Bern": 1, "Rome": 2, "Oslo": 4})
    _, outcome = run(project, "joined")
    assert outcome.of("validated_data").unchanged == DAYS
    assert outcome.of("features").unchanged == 0
    assert people(project)["Oslo"] == 4.0

    (project.folder / "data" / "cities.csv").unlink()
    succeeded, outcome = run(project, "joined")
    assert not succeeded
    assert reasons(outcome, "features") == {
        "complete": "features.inputs.cities: no file data/cities.csv; check source.path, or deliver the file."
    }
    assert people(project)["Oslo"] == 4.0


def test_rows_of_every_kind_and_a_label_of_words_go_all_the_way(project: Project) -> None:
    assert run(project, "mixed")[0]
    succeeded, outcome = run(project, "mixed", "model", "evaluation", "promotion")
    assert succeeded, (outcome.errors, reasons(outcome, "model"))
    assert all(verdicts(outcome, "promotion").values())
    work = project.work("mixed")
    trained = work.tracking.run_of(work.tracking.model_of("mixed", CUTOFF).run_id).params
    assert trained["estimator"] == "sklearn.ensemble.HistGradientBoostingClassifier"
    assert trained["params.early_stopping"] == "False"
    assert outcome.of("model").latest["left_out"] == {"code": LEFT_OUT["identifier"]}
    labels = work.reports.reports(dg.AssetKey(["mixed", "evaluation"]), [CUTOFF])[CUTOFF].scores["label"]
    assert sorted(labels.unique()) == [0.0, 1.0]
