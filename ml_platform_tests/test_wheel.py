"""The platform as others install it: from its wheel, in a project of their own. The slowest of the small tests."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).parents[1]
ROWS = 400


def test_from_a_wheel_a_file_is_a_champion_in_a_new_project(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=False)
    (packages,) = tmp_path.glob("venv/lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # what the platform depends on is that of the tests: nothing is downloaded
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    rng = np.random.default_rng(0)
    size = rng.normal(size=ROWS).round(3)
    rows = pl.DataFrame(
        {"id": range(ROWS), "size": size, "big": np.where(size + rng.normal(size=ROWS) > 0, "yes", "no")}
    )
    rows.write_csv(tmp_path / "things.csv")
    python = tmp_path / "venv" / "bin" / "python"
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "DAGSTER_HOME"}}
    for arguments, folder in (
        (["init", "things", "--data", "things.csv", "--target", "big", "--project", "shop"], tmp_path),
        (["run", "things"], tmp_path / "shop"),
    ):
        done = subprocess.run(
            [python, "-m", "ml_platform", *arguments],
            cwd=folder,
            env={**kept, "ML_PLATFORM_HOME": str(tmp_path / "home")},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "version 1 is champion now" in done.stdout
