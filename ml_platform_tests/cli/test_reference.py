"""The reference of the YAML file: the page in `docs/` is what the schema says, and the schema describes every key."""

from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from ml_platform import use_case
from ml_platform.blocks import Block
from ml_platform.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"
BLOCKS = [block for block in vars(use_case).values() if isinstance(block, type) and issubclass(block, Block)]


def printed() -> str:
    return CliRunner().invoke(app, ["reference"], catch_exceptions=False).stdout


def test_the_page_is_what_the_schema_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == printed(), (
        "docs/reference.md is out of date; refresh it: .venv/bin/ml-platform reference > docs/reference.md"
    )


@pytest.mark.parametrize("block", BLOCKS)
def test_every_key_has_a_description_and_a_row(block: type[BaseModel]) -> None:
    page = printed()
    for key, field in block.model_fields.items():
        assert field.description, f"{block.__name__}.{key} has no description; give its Field one"
        assert f"| {field.description} |" in page


def test_metrics_say_which_way_is_better() -> None:
    page = printed()
    assert "| `binary_classification` | `roc_auc` | higher |" in page
    assert "| `binary_classification` | `f1` | higher, at the model's `threshold` |" in page
    assert "| `regression` | `mean_absolute_error` | lower |" in page


def test_types_and_defaults_are_in_words() -> None:
    rows = printed().splitlines()
    for start in (
        "| `quarantine_at_most` | share | `2%` |",
        "| `known_after` | duration | `0 days` |",
        "| `estimator` | reference |",
        "| `seed` | whole number from 0 | `0` |",
        "| `partitions` | [`partitions`](#partitions) or `none` | **required** |",
        "| `every` | one of `day`, `week`, `month` | `week` |",
        "| `columns` | mapping of names to [`contract.columns.<name>`](#contractcolumnsname) | **required** |",
    ):
        assert any(row.startswith(start) for row in rows), start
