"""Empty databases of Dagster and MLflow, to be copied: to make them takes longer than what most tests do with them."""

import atexit
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import dagster as dg
import pytest

from ml_platform.cli.project import INSTANCE, Project
from ml_platform.resources.tracking import Tracking


def furnish(home: Path) -> None:
    """Give a home that has no databases empty ones, as its first run would make them."""
    if not (home / "mlflow.db").exists():
        shutil.copytree(_empty_home(), home, dirs_exist_ok=True)


@cache
def _empty_home() -> Path:
    home = Path(mkdtemp(prefix="empty-home-"))
    atexit.register(shutil.rmtree, home)
    (home / "dagster").mkdir()
    settings = home / "dagster" / "dagster.yaml"
    settings.write_text(INSTANCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(settings.parent))
        patch.setenv("MLFLOW_TRACKING_URI", "")  # so that what mlflow sets is undone
        Project(home, dg.Definitions()).instance.dispose()
        Tracking(uri=f"sqlite:///{home}/mlflow.db", artifacts=f"{home}/artifacts").errors()
    settings.unlink()  # each project has its own
    return home
