"""The use case with blanks that `dg scaffold defs ml_platform.components.UseCase NAME` writes."""

from datetime import date
from typing import Any

from ml_platform.onboarding.keys import Key
from ml_platform.onboarding.plan import Choices, Plan, Timing
from ml_platform.onboarding.schedule import Schedule
from ml_platform.onboarding.target import Target
from ml_platform.onboarding.tasks import Labelling
from ml_platform.onboarding.templates import rendered

COLUMNS: dict[str, dict[str, Any]] = {
    "id": {"type": "int64", "nullable": False},
    "happened_at": {"type": "datetime", "nullable": False},
    "amount": {"type": "float64", "min": 0},
    "kind": {"type": "string"},
    "target": {"type": "int64", "one_of": [0, 1]},
}


def blank(name: str) -> str:
    """The YAML file of a use case whose data is still to be named."""
    plan = Plan(
        Choices(name, "target"),
        Target("target"),
        Labelling("binary_classification", "binary_classification, multiclass_classification or regression"),
        Timing("happened_at", Schedule("month", date(2024, 1, 1), date(2025, 1, 1), "month", 274, 92, "cut by it"), ""),
        Key(("id",), 0, "the columns that name a row"),
        {"type": "files", "path": f"data/{name}.csv", "format": "csv"},
        transforms=False,
        ids={},
        margin=0.02,
        headline="Replace the columns, the dates and the source by those of your data.",
    )
    features = {"amount": None, "kind": None}
    return rendered("defs.yaml.j2", plan.values(COLUMNS, features, {}, None))
