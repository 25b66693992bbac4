"""A project of variants of the tiny use case, each with the rows and the transform that its test needs."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from ml_platform.cli import app
from ml_platform.cli.outcome import Outcome
from ml_platform.cli.project import Project
from ml_platform.cli.run import run_use_case
from ml_platform.use_case import Stage
from ml_platform.use_case.words import DATA
from ml_platform_tests.conftest import opened
from ml_platform_tests.examples import attributes
from ml_platform_tests.projects import write_project, write_use_case

FIRST = date(2024, 1, 1)
ROWS = 300
DAYS = 7
CUTOFF = "2024-01-08"
"""The first cutoff: trained on the days 1 to 3, judged on 5 and 6."""

AMOUNT = """
import polars as pl


def build(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("id", "at", "fraud", "amount")
"""


def payments(day: date) -> pl.DataFrame:
    """The rows of a day: the greater the amount, the likelier a fraud."""
    rng = np.random.default_rng([7, day.toordinal()])
    amount, terminal = rng.exponential(10, ROWS), rng.integers(0, 30, ROWS)
    midnight = datetime.combine(day, datetime.min.time())
    return pl.DataFrame(
        {
            "id": 1000 * (day - FIRST).days + np.arange(ROWS),
            "at": [midnight + timedelta(seconds=int(second)) for second in np.sort(rng.integers(0, 86_400, ROWS))],
            "amount": amount,
            "other": rng.exponential(10, ROWS),
            "city": rng.choice(["Bern", "Rome", "Oslo"], ROWS),
            "terminal": terminal,
            "fraud": (rng.random(ROWS) < np.clip(amount / 40, 0.02, 0.95)).astype(np.int64),
        },
        schema_overrides={"at": pl.Datetime("us")},
    )


@dataclass(frozen=True)
class Variant:
    """What a use case has that the tiny one has not; `rows` gives those of a day."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    features: str | None = AMOUNT
    rows: Callable[[date], pl.DataFrame] = payments
    days: int = DAYS

    def attributes(self, name: str) -> dict[str, Any]:
        """The attributes of its YAML file."""
        base = {
            "name": name,
            "source": {"type": "files", "path": f"data/{name}-{{partition}}.parquet", "format": "parquet"},
            "contract": {"columns": {"other": {"type": "float64"}, "terminal": {"type": "int64"}}},
            "registry": {"name": name},
            **({"features": {"transform": ".features:build", "lookback": "1 day"}} if self.features else {}),
        }
        changes = dict(self.changes)
        if contract := changes.pop("contract", None):
            base["contract"] = {**base["contract"], **contract}
        return attributes(**{**base, **changes})


def write_rows(folder: Path, name: str, variant: Variant) -> None:
    """The files of a variant's days."""
    for number in range(variant.days):
        day = FIRST + timedelta(days=number)
        variant.rows(day).write_parquet(folder / "data" / f"{name}-{day}.parquet")


@contextmanager
def tiny_project(folder: Path, variants: Mapping[str, Variant], **environment: str) -> Iterator[Project]:
    """A project of these variants, opened, with variables of its environment; nothing of it was run."""
    package = f"project_{folder.name.replace('-', '_')}"
    write_project(folder, package)
    for name, variant in variants.items():
        content = {"type": "ml_platform.components.UseCase", "attributes": variant.attributes(name)}
        write_use_case(folder, package, name, yaml.safe_dump(content), variant.features)
        write_rows(folder, name, variant)
    with pytest.MonkeyPatch.context() as patch:
        yield from opened(folder, patch, **environment)


def run(project: Project, name: str, *stages: Stage, days: int = DAYS, **options: Any) -> tuple[bool, Outcome]:
    """Run stages of a variant up to a day, by default those of the data."""
    last = f"{FIRST + timedelta(days=days - 1)}"
    return run_use_case(project, name, None, last, stages=stages or DATA, quiet=True, **options)


def reasons(outcome: Outcome, stage: Stage) -> dict[str, str]:
    """Why checks of a stage failed, by their names."""
    return {one.name: str(one.reason) for one in outcome.checks if one.stage == stage and not one.passed}


def verdicts(outcome: Outcome, stage: Stage) -> dict[str, bool]:
    """Which checks of a stage passed."""
    return {one.name: one.passed for one in outcome.checks if one.stage == stage}


def told(*arguments: str) -> Any:
    """What a command says as JSON, and nothing besides."""
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return json.loads(result.stdout)
