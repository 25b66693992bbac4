"""Small projects of a user's own, written into a temporary folder, for tests that run the whole chain."""

from datetime import datetime, timedelta
from pathlib import Path

from ml_platform.defs.card_fraud.simulator import transactions

PYPROJECT = """
[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "{package}"
"""

# as ml_platform/definitions.py has it, which says why
DEFINITIONS = """
from pathlib import Path

import dagster as dg

from ml_platform.partitions import accepted_previews


@dg.definitions
def defs() -> dg.Definitions:
    with accepted_previews():
        return dg.ComponentTree.for_project(Path(__file__).parent).build_defs(Path())
"""

RESOURCES = "from ml_platform.defs.platform.resources import resources\n"

PAYMENTS = """
type: ml_platform.components.UseCase
attributes:
  name: payments
  task: binary_classification
  source: {type: files, path: "data/{partition}.parquet", format: parquet}
  partitions: {every: day, start: 2018-04-01, end: 2018-05-01}
  contract:
    key: [TRANSACTION_ID]
    event_time: TX_DATETIME
    columns:
      TRANSACTION_ID: {type: int64}
      TX_DATETIME: {type: datetime}
      CUSTOMER_ID: {type: int64, nullable: false}
      TERMINAL_ID: {type: int64, nullable: false}
      TX_AMOUNT: {type: float64, nullable: false, min: 0}
      TX_FRAUD: {type: int64, one_of: [0, 1]}
  features: {transform: .features:build, lookback: 2 days}
  label: {column: TX_FRAUD, known_after: 2 days}
  model:
    every: week
    train_on: 3 days
    hold_out: 3 days
    estimator: sklearn.linear_model.LogisticRegression
  gates:
    - {metric: roc_auc, at_least: 0.55}
    - {metric: roc_auc, no_worse_than: champion, margin: 0.1}
  registry: {name: payments}
"""

PAYMENT_FEATURES = """
from datetime import timedelta

import pandas as pd
import polars as pl

from ml_platform.ml.windows import Aggregate, trailing_windows


def build(payments: pd.DataFrame) -> pd.DataFrame:
    rows = pl.from_pandas(payments)
    risk = trailing_windows(
        rows,
        entity="TERMINAL_ID",
        time="TX_DATETIME",
        windows={"1D": timedelta(days=1)},
        aggregates=[Aggregate("TERMINAL_COUNT_{window}", "count")],
    )
    return rows.select("TRANSACTION_ID", "TX_DATETIME", "TX_FRAUD", "TX_AMOUNT").hstack(risk).to_pandas()
"""

TABLE = """
type: ml_platform.components.UseCase
attributes:
  name: {name}
  task: {task}
  source: {{type: files, path: "data/{name}.csv", format: csv}}
  partitions: none
  contract:
    key: [id]
    columns:
      id: {{type: int64}}
      size: {{type: float64}}
      colour: {{type: string}}
      ripe: {{type: boolean}}
      target: {{type: {target}}}
  label: {{column: target}}
  model: {{estimator: {estimator}}}
  gates:
    - {{metric: {metric}, {condition}}}
    - {{metric: {metric}, better_than: prior}}
  registry: {{name: {name}}}
"""

FIRST_DAY = datetime(2018, 4, 1)


def write_project(folder: Path, package: str) -> None:
    """An empty project with the platform's resources."""
    (folder / package / "defs" / "platform").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT.format(package=package))
    (folder / package / "__init__.py").touch()
    (folder / package / "definitions.py").write_text(DEFINITIONS)
    (folder / package / "defs" / "platform" / "resources.py").write_text(RESOURCES)


def write_use_case(folder: Path, package: str, name: str, yaml: str, features: str | None = None) -> None:
    """A use case of the project."""
    place = folder / package / "defs" / name
    place.mkdir()
    (place / "defs.yaml").write_text(yaml)
    if features:
        (place / "features.py").write_text(features)


def write_payments_project(folder: Path, package: str) -> None:
    """A project with the use case `payments` and a file for each of its thirty days."""
    write_project(folder, package)
    write_use_case(folder, package, "payments", PAYMENTS, PAYMENT_FEATURES)
    write_payments(folder, days=30)


def write_payments(folder: Path, days: int) -> None:
    """A Parquet file of payments for each day from the first."""
    for number in range(days):
        day = FIRST_DAY + timedelta(days=number)
        rows = transactions(day, day + timedelta(days=1), customers=400, terminals=800)
        rows.drop("TX_FRAUD_SCENARIO").write_parquet(folder / "data" / f"{day:%Y-%m-%d}.parquet")
