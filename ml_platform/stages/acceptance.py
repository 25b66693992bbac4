"""What a person has accepted although a check is against it: who, why and until when."""

from dataclasses import asdict, dataclass
from datetime import date, datetime

import dagster as dg
import polars as pl

from ml_platform.io_managers.publishing import Key
from ml_platform.resources.lake import Lake
from ml_platform.use_case import Stage

COLUMNS = {
    "stage": pl.String(),
    "accepted_partition": pl.String(),
    "why": pl.String(),
    "until": pl.Date(),
    "by": pl.String(),
    "at": pl.Datetime("us"),
}


@dataclass(frozen=True)
class Acceptance:
    """A partition of a stage that is published up to a day, this day included, whatever its checks say."""

    stage: Stage
    accepted_partition: Key
    why: str
    until: date
    by: str
    at: datetime

    def __str__(self) -> str:
        """The acceptance as it is shown with the asset."""
        return f"accepted by {self.by} until {self.until}: {self.why}"


def accept(lake: Lake, use_case: str, acceptance: Acceptance) -> None:
    """Record an acceptance; none is ever changed or removed."""
    lake.table(_key(use_case)).append(pl.DataFrame([asdict(acceptance)], schema=COLUMNS))


def acceptances(lake: Lake, use_case: str, stage: Stage, today: date) -> dict[Key, Acceptance]:
    """The acceptances of a stage that are in force, by partition, the newest of each."""
    table = lake.table(_key(use_case))
    if not table.exists():
        return {}
    rows = table.scan().filter(pl.col("stage") == stage, pl.col("until") >= today).sort("at").collect()
    return {row["accepted_partition"]: Acceptance(**row) for row in rows.iter_rows(named=True)}


def _key(use_case: str) -> dg.AssetKey:
    return dg.AssetKey([use_case, "acceptances"])
