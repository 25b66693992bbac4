"""The folders that are measured: days of payments, a project of the platform, and Dagster projects without it."""

import shutil
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import yaml

import ml_platform
from ml_platform.defs.card_fraud.simulator import transactions

USE_CASE, PACKAGE = "card_fraud", "measured"
FIRST_DAY = date(2018, 4, 1)
CUSTOMERS, TERMINALS = 5_000, 10_000
IDS_A_COPY = 100_000
PLATFORM = Path(ml_platform.__file__).parent

PYPROJECT = f'[tool.dg]\ndirectory_type = "project"\n\n[tool.dg.project]\nroot_module = "{PACKAGE}"\n'
WORKSPACE = (
    f"load_from:\n  - python_module:\n      module_name: {PACKAGE}.definitions\n      location_name: {PACKAGE}\n"
)
RESOURCES = "from ml_platform.defs.platform.resources import resources\n"
CHECK = """import polars as pl


def nothing(rows: pl.DataFrame) -> str | None:
    return None if rows.height else "there are no rows."
"""
NOTHING = "import dagster as dg\n\n\n@dg.asset\ndef nothing() -> None: ...\n"
PLAIN = f"{NOTHING}\n\ndefs = dg.Definitions(assets=[nothing])\n"
SCAFFOLDED = """from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


def days_from(first: date, count: int) -> list[date]:
    """So many days from the first."""
    return [first + timedelta(days=number) for number in range(count)]


def write_days(folder: Path, days: Iterable[date], copies: int = 1) -> float | None:
    """A Parquet file of simulated payments for each day, about 9,800 rows in each copy; the mean of rows a day.

    A copy has payments, customers and terminals of its own, so that a window holds as many rows as in one copy. Files
    that are there are left as they are; None where all are.
    """
    folder.mkdir(exist_ok=True)
    heights = []
    for day in days:
        file = folder / f"{day}.parquet"
        if file.exists():
            continue
        midnight = datetime.combine(day, time())
        rows = transactions(
            midnight, midnight + timedelta(days=1), customers=CUSTOMERS, terminals=TERMINALS, dirty=0.001
        ).drop("TX_FRAUD_SCENARIO")
        whole = pl.concat(
            rows.with_columns(
                pl.col("TRANSACTION_ID") + copy * IDS_A_COPY,
                pl.col("CUSTOMER_ID") + copy * CUSTOMERS,
                pl.col("TERMINAL_ID") + copy * TERMINALS,
            )
            for copy in range(copies)
        )
        whole.sort("TX_DATETIME", maintain_order=True).write_parquet(file)
        heights.append(whole.height)
    return sum(heights) / len(heights) if heights else None


def shipped() -> dict[str, Any]:
    """The shipped use case, as its YAML file has it."""
    document: dict[str, Any] = yaml.safe_load((PLATFORM / "defs" / USE_CASE / "defs.yaml").read_text(encoding="utf-8"))
    return document


def write_project(
    folder: Path, data: Path, names: Iterable[str] = (USE_CASE,), more: Mapping[str, object] | None = None
) -> Path:
    """A project of the platform with the shipped use case on the files of `data`, once under each name.

    `more` are further keys of its YAML file.
    """
    defs = folder / PACKAGE / "defs"
    (defs / "platform").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (folder / "workspace.yaml").write_text(WORKSPACE, encoding="utf-8")
    shutil.copy(PLATFORM.parent / "dagster.yaml", folder)
    (folder / PACKAGE / "__init__.py").touch()
    (folder / PACKAGE / "checks.py").write_text(CHECK, encoding="utf-8")
    shutil.copy(PLATFORM / "definitions.py", folder / PACKAGE)
    (defs / "platform" / "resources.py").write_text(RESOURCES, encoding="utf-8")
    for name in names:
        document = shipped()
        attributes = document["attributes"]
        attributes.update(more or {}, name=name, registry={"name": name})
        attributes["source"] = {"type": "files", "path": str(data / "{partition}.parquet"), "format": "parquet"}
        attributes["features"]["transform"] = "ml_platform.defs.card_fraud.features:build"
        (defs / name).mkdir()
        (defs / name / "defs.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return folder


def write_empty_project(folder: Path) -> Path:
    """A Dagster project with one asset that does nothing."""
    (folder / PACKAGE).mkdir(parents=True)
    (folder / PACKAGE / "__init__.py").touch()
    (folder / PACKAGE / "definitions.py").write_text(PLAIN, encoding="utf-8")
    return folder


def write_scaffolded_project(folder: Path) -> Path:
    """A Dagster project as `create-dagster project` lays it out, with one asset that does nothing."""
    (folder / PACKAGE / "defs").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    for package in (folder / PACKAGE, folder / PACKAGE / "defs"):
        (package / "__init__.py").touch()
    (folder / PACKAGE / "definitions.py").write_text(SCAFFOLDED, encoding="utf-8")
    (folder / PACKAGE / "defs" / "nothing.py").write_text(NOTHING, encoding="utf-8")
    return folder
