"""The command `init` as a person meets it: what it says, what it writes, and a champion one command later."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from ml_platform.cli import app
from ml_platform.cli.init import GATES, GUIDE
from ml_platform.cli.run import run_use_case
from ml_platform_tests.conftest import opened
from ml_platform_tests.onboarding.dirty import write_customers

ROOT = Path(__file__).parents[2]
ROWS = 600


def init(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, ["init", *arguments])


@pytest.fixture
def fruit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small clean file in a folder that is no project yet."""
    rng = np.random.default_rng(0)
    size, colour = rng.uniform(0, 10, ROWS).round(2), rng.choice(["red", "green"], ROWS)
    apple = np.where(size + 3 * (colour == "red") + rng.normal(0, 2, ROWS) > 7, "yes", "no")
    rows = pl.DataFrame({"id": range(ROWS), "size": size, "colour": colour, "apple": apple})
    rows.write_csv(tmp_path / "fruit.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_is_a_champion_one_command_later(fruit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = f"project_{fruit.name.replace('-', '_')}"
    result = init("apples", "--data", "fruit.csv", "--target", "apple", "--project", project)
    assert result.exit_code == 0, result.output
    assert "binary_classification; apple has two values, yes counts as 1" in result.output
    assert f"cd {project} && ml-platform run apples" in result.output
    for loaded in opened(fruit / project, monkeypatch):
        succeeded, outcome = run_use_case(loaded, "apples", None, None, quiet=True)
        assert succeeded, outcome.errors
        assert outcome.stages["promotion"].latest["promoted"] is True


def test_a_comparison_over_months_is_a_champion_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    hours = np.repeat(np.arange(0, 8760, 9), 2)
    rush = rng.integers(0, 2, len(hours))
    trains = pl.DataFrame(
        {
            "at": [datetime(2023, 1, 1) + timedelta(hours=int(hour)) for hour in hours],
            "line": ["S1", "S2"] * (len(hours) // 2),
            "rush": rush,
            "delay": (rng.normal(25 + 15 * rush, 10)).round(1),
        }
    )
    trains.sample(fraction=1.0, shuffle=True, seed=0).write_csv(tmp_path / "trains.csv")
    monkeypatch.chdir(tmp_path)
    project = f"project_{tmp_path.name.replace('-', '_')}"
    result = init("late", "--data", "trains.csv", "--target", "delay >= 30", "--project", project)
    assert result.exit_code == 0, result.output
    assert "every month: 12 months" in result.output
    assert "at, line: no column is unique, these together are" in result.output
    for loaded in opened(tmp_path / project, monkeypatch):
        succeeded, outcome = run_use_case(loaded, "late", None, None, quiet=True)
        assert succeeded, outcome.errors
        assert outcome.stages["promotion"].latest["promoted"] is True
        assert outcome.stages["model"].latest["partition"] == "2024-01-01"
        assert outcome.stages["predictions"].rows == len(hours)


def test_thirty_columns_and_every_danger_are_readable_at_a_hundred_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_customers(tmp_path / "customers.csv")
    result = init("churn", "--data", "customers.csv", "--target", "churn", "--project", "shop")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert max(len(line) for line in lines[1:]) <= 100
    table = [line.split()[0] for line in lines[3:32]]
    header = (tmp_path / "customers.csv").read_text(encoding="latin-1").splitlines()[0].split(";")
    assert table == [name for name in header if name != "empty"]
    for told in ("final_bill alone tells churn", "left out of the features", "Köln", "those rows go to quarantine"):
        assert told in result.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "fruit.csv", "--target", "aple"], "the data has no column 'aple'; did you mean 'apple'?"),
        (["--data", "fruits.csv", "--target", "apple"], "--data fruits.csv: there is no such file"),
        (["--data", "fruit.csv", "--target", "apple", "--every", "days"], "--every days is no cadence; did you mean"),
        (["--data", "fruit.csv", "--target", "apple", "--every", "day"], "no column says when a row happened"),
        (["--target", "apple"], "say where the data is: --data PATH, or --address-variable"),
        (["--target", "apple", "--address-variable", "NOWHERE", "--table", "x"], "NOWHERE is not set"),
        (["--target", "apple", "--address-variable", "X"], "give either --table or --query"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(fruit: Path, arguments: list[str], sentence: str) -> None:
    result = init("apples", *arguments, "--project", "shop")
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert len(result.stderr.strip().splitlines()) == 1
    assert [path.name for path in fruit.iterdir()] == ["fruit.csv"]


def test_a_name_is_never_written_over(fruit: Path) -> None:
    arguments = ("apples", "--data", "fruit.csv", "--target", "apple", "--project", "shop")
    assert init(*arguments).exit_code == 0
    text = (fruit / "shop/shop/defs/apples/defs.yaml").read_text()
    again = init(*arguments[:-3], "size", "--project", "shop")
    assert again.exit_code == 2
    assert "nothing is ever written over" in again.stderr
    assert (fruit / "shop/shop/defs/apples/defs.yaml").read_text() == text


def test_data_without_a_danger_is_said_to_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = {name: rng.normal(size=ROWS) for name in ("a", "b", "c")}
    pl.DataFrame({"id": range(ROWS), "y": rows["a"] > 0.5 * rows["b"], **rows}).write_csv(tmp_path / "x.csv")
    monkeypatch.chdir(tmp_path)
    assert "nothing dangerous was found" in init("clean", "--data", "x.csv", "--target", "y", "--project", "p").output


def test_the_pages_it_points_to_are_there() -> None:
    assert all((ROOT / page).is_file() for page in (GUIDE, GATES))


def test_outside_a_project_it_says_how_to_make_one(fruit: Path) -> None:
    result = init("apples", "--data", "fruit.csv", "--target", "apple")
    assert result.exit_code == 2
    assert "Or give a folder with --project to make one." in result.stderr
    assert fruit.exists()


def test_a_database_table_is_named_by_the_variable_of_its_address(fruit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"sqlite:///{fruit / 'shop.db'}"
    engine = sa.create_engine(address)
    pl.read_csv(fruit / "fruit.csv").write_database("fruit", engine)
    engine.dispose()
    monkeypatch.setenv("SHOP_DATABASE", address)
    target = ("apples", "--target", "apple", "--project", "shop")
    result = init(*target, "--address-variable", "SHOP_DATABASE", "--table", "fruit")
    assert result.exit_code == 0, result.output
    text = (fruit / "shop/shop/defs/apples/defs.yaml").read_text()
    assert "address_variable: SHOP_DATABASE" in text
    assert address not in text
