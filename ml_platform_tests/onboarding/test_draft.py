"""Whole use cases drafted from files: what they say, and that each of their files holds on the data it came from."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from ml_platform.errors import UserError
from ml_platform.onboarding.code_files import built
from ml_platform.onboarding.draft import Draft, draft
from ml_platform.onboarding.plan import Choices
from ml_platform.onboarding.scaffold import blank
from ml_platform.onboarding.sniffing import sniff
from ml_platform.use_case import UseCase
from ml_platform_tests.onboarding.dirty import REPEATED, UNREADABLE, write_customers

ROWS = 400


@pytest.fixture(scope="module")
def customers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("customers") / "customers.csv"
    write_customers(file)
    return file


def drafted(file: Path, target: str, **choices: Any) -> Draft:
    found = sniff(str(file), file.name)
    return draft(found.source, found.rows, Choices("mine", target, **choices), str(found))


def test_a_dirty_file_becomes_a_use_case_that_says_what_it_did(customers: Path) -> None:
    found = drafted(customers, "churn")
    use_case, contract = found.use_case, found.use_case.contract
    assert found.headline.endswith("csv cut by ';', cp1252, missing written as '-', '?', 'N/A'")
    assert use_case.task == "binary_classification"
    assert (contract.key, contract.event_time) == (["customer"], "opened")
    assert contract.columns["opened"].format == "%d/%m/%Y %H:%M"
    assert contract.columns["zip"].type == "string"
    assert use_case.windows is not None
    assert use_case.windows.every == "month"
    assert contract.columns["churn"].one_of == ["no", "yes"]
    assert use_case.label.positive == "yes"
    assert '"minutes"' in found.files["features.py"]
    assert use_case.features.transform == ".features:build"

    left_out = {one.column for one in found.dangers if one.leaves_out}
    assert left_out == {"closed", "refund_reason", "final_bill", "name", "notes", "source", "constant"}
    assert left_out.isdisjoint(use_case.features.columns or [])
    kept = {(one.column, one.evidence) for one in found.dangers if not one.leaves_out}
    assert ("age", f"has {UNREADABLE} values that are no number: 'old'") in kept
    assert ("customer", f"does not name {REPEATED} rows alone: they repeat the one of another") in kept
    assert any(column == "rating" and "is -999 in 61 rows" in evidence for column, evidence in kept)
    assert any("Köln" in evidence for column, evidence in kept if column == "texts")


def test_each_column_left_out_stands_in_the_file_as_a_comment_with_the_reason(customers: Path) -> None:
    text = drafted(customers, "churn").files["defs.yaml"]
    assert "      # - final_bill  # alone tells churn with a ROC AUC of" in text
    assert "      # - customer  # the key" in text
    back = text.replace("      # - final_bill  #", "      - final_bill  #")
    again = UseCase.model_validate(yaml.safe_load(back)["attributes"])
    assert "final_bill" in (again.features.columns or [])


def test_without_partitions_the_time_is_named_as_a_danger(customers: Path) -> None:
    found = drafted(customers, "churn", by_time=False)
    assert found.use_case.windows is None
    assert ("opened", "kept; what changes with time flatters the figures") in {
        (one.column, one.done) for one in found.dangers
    }


def table(**columns: Any) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {"size": rng.normal(5, 2, ROWS).round(1), "colour": rng.choice(["red", "green"], ROWS), **columns}
    )


def written(folder: Path, rows: pl.DataFrame) -> Path:
    rows.write_csv(folder / "x.csv")
    return folder / "x.csv"


@pytest.mark.parametrize(
    ("values", "target", "task", "positive"),
    [
        ([row % 2 for row in range(ROWS)], "y", "binary_classification", None),
        (["true", "false"] * (ROWS // 2), "y", "binary_classification", None),
        ([1, 2] * (ROWS // 2), "y", "binary_classification", 2),
        (["good", "bad", "bad", "bad"] * (ROWS // 4), "y", "binary_classification", "good"),
        (["a", "b", "c", "d"] * (ROWS // 4), "y", "multiclass_classification", None),
        ([row % 5 for row in range(ROWS)], "y", "multiclass_classification", None),
        ([row / 7 for row in np.random.default_rng(1).permutation(ROWS)], "y", "regression", None),
        (np.random.default_rng(1).permutation(ROWS), "y >= 300", "binary_classification", None),
    ],
)
def test_the_task_is_what_the_target_says(
    tmp_path: Path, values: Any, target: str, task: str, positive: object
) -> None:
    found = drafted(written(tmp_path, table(id=range(ROWS), y=values)), target)
    assert found.use_case.task == task
    assert found.use_case.label.positive == positive
    compared = target != "y"
    assert ("features.py" in found.files) == compared
    assert not compared or '(pl.col("y") >= 300).cast(pl.Int64)' in found.files["features.py"]


@pytest.mark.parametrize(
    ("values", "task", "made"),
    [
        (["Yes", " yes", "NO ", "No", None], "binary_classification", [1, 1, 0, 0, None]),
        (["red", "Red ", "green", "blue", None], "multiclass_classification", ["red", "red", "green", "blue", None]),
    ],
)
def test_a_target_written_in_several_ways_is_made_one(
    tmp_path: Path, values: list[str | None], task: str, made: list[Any]
) -> None:
    found = drafted(written(tmp_path, table(id=range(ROWS), y=values * (ROWS // 5))), "y")
    assert found.use_case.task == task
    assert any("written in 4 ways by case and spaces" in reason for _, reason in found.decisions)
    assert built(found.files["features.py"], pl.DataFrame({"y": values}))["y"].to_list() == made


@pytest.mark.parametrize(("target", "made"), [("y", [1234.5, -2.0]), ("y >= 1000", [1, 0])])
def test_a_target_with_a_decimal_comma_is_a_number(tmp_path: Path, target: str, made: list[float]) -> None:
    values = [f"{row},{row % 90 + 10} €" for row in np.random.default_rng(0).permutation(3 * ROWS)[:ROWS]]
    found = drafted(written(tmp_path, table(id=range(ROWS), y=values)), target)
    assert found.use_case.task == ("regression" if target == "y" else "binary_classification")
    rows = built(found.files["features.py"], pl.DataFrame({"y": ["1.234,50 €", "-2 €"]}))
    assert rows["y"].to_list() == made


def test_rows_that_nothing_names_are_numbered(tmp_path: Path) -> None:
    rows = table(y=[row % 2 for row in range(ROWS)]).with_columns(pl.col("size").round(0))
    found = drafted(written(tmp_path, pl.concat([rows, rows])), "y")
    assert found.use_case.contract.key == ["row_number"]
    assert found.use_case.source.type == "python"
    assert 'with_row_index("row_number", offset=1)' in found.files["rows.py"]


@pytest.mark.parametrize(
    ("rows", "choices", "sentence"),
    [
        (table(id=range(ROWS), y=1), {"target": "y"}, "y is 1 in all rows"),
        (table(id=range(ROWS), y=None), {"target": "y"}, "y has no value; there is nothing to predict"),
        (table(id=range(ROWS)).head(10), {"target": "size"}, "the data has 10 rows; a model needs 50"),
        (table(id=range(ROWS)), {"target": "sise"}, "no column 'sise'; did you mean 'size'"),
        (table(id=range(ROWS)), {"target": "size >= big"}, "'big' is no number"),
        (table(id=range(ROWS)), {"target": "size >= 99"}, "that holds for no row; size goes from"),
        (table(id=range(ROWS)), {"target": "colour >= 1"}, "colour is string; compare a number"),
        (table(id=[f"x{row}" for row in range(ROWS)]), {"target": "id"}, "id has 400 different texts"),
        (table(id=range(ROWS)), {"target": "size", "time": "colour"}, "--time colour: its values are no dates"),
        (table(id=range(ROWS)), {"target": "size", "key": ["idd"]}, "--key idd: the data has no such column"),
        (table(id=range(ROWS), size2=1).drop("colour"), {"target": "size"}, "no column is left to learn from"),
    ],
)
def test_what_makes_no_use_case_is_said_in_a_sentence(
    tmp_path: Path, rows: pl.DataFrame, choices: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        drafted(written(tmp_path, rows), **choices)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("partition", "has a name that the platform keeps for itself"),
        ("{{x}}", "has a name that the platform keeps for itself"),
        ("SIZE", "differs from size in case only"),
    ],
)
def test_columns_whose_names_no_table_can_have_are_not_read(tmp_path: Path, name: str, why: str) -> None:
    found = drafted(written(tmp_path, table(id=range(ROWS), **{name: 1})), "size")
    assert f"# {name} is not read: {why}; rename it in the source" in found.files["defs.yaml"]


def test_texts_that_look_like_templates_are_no_choices(tmp_path: Path) -> None:
    found = drafted(written(tmp_path, table(id=range(ROWS), kind=["{{a}}", "b"] * (ROWS // 2))), "size")
    assert found.use_case.contract.columns["kind"].one_of is None


def test_a_column_with_quotes_and_colons_in_its_name_is_written_right(tmp_path: Path) -> None:
    name = "what's: the #1, {size}?"
    found = drafted(written(tmp_path, table(id=range(ROWS), **{name: range(ROWS, 0, -1)})), f"{name} >= 200")
    assert found.use_case.label.column == name


def test_the_use_case_with_blanks_is_a_use_case() -> None:
    use_case = UseCase.model_validate(yaml.safe_load(blank("houses"))["attributes"])
    assert (use_case.name, use_case.registry.name) == ("houses", "houses")
