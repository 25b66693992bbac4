"""The command `status`: what it counts, and that two use cases fit on one screen."""

import json
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from typer.testing import CliRunner

from ml_platform.cli import app
from ml_platform.cli.project import Project, open_project
from ml_platform_tests.projects import TABLE, write_use_case
from ml_platform_tests.test_without_partitions import USE_CASES, fruit


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code in {0, 1}, result.output
    return result.stdout


def document(name: str) -> Any:
    (found,) = json.loads(invoke("status", name, "--json"))
    return found


def test_a_step_has_what_all_its_stages_have_and_counts_what_is_late_and_what_is_missing_between(
    payments: Project,
) -> None:
    (payments.folder / "data" / "2018-04-03.parquet").unlink()
    invoke("run", "payments", "--to", "2018-04-05")
    found = document("payments")
    steps, stages = ({one["name"]: one for one in found[part]} for part in ("steps", "stages"))
    raw = stages["raw_data"]
    assert (raw["newest"], raw["expected"]) == ("2018-04-05", "2018-04-30")
    assert (raw["published"], raw["partitions"], raw["late"], raw["gaps"]) == (4, 30, 25, 1)
    assert raw["red_checks"] == ["readable 2018-04-03"]
    # the features look two days back: those of two days after the gap are not there
    assert stages["features"]["published"] == 2
    assert (steps["data"]["newest"], steps["data"]["published"], steps["data"]["late"]) == ("2018-04-02", 2, 28)
    assert "raw_data readable 2018-04-03" in steps["data"]["red_checks"]
    assert (steps["model"]["published"], steps["model"]["newest"], found["champion"]) == (0, None, None)
    assert payments.use_cases() == ["payments"]


def test_the_champion_has_the_metrics_of_its_gates_and_the_decision_each_gates_verdict(registered: Project) -> None:
    found = document("payments")
    champion, decision = found["champion"], found["decision"]
    assert (champion["version"], champion["until"], list(champion["metrics"])) == (3, None, ["roc_auc"])
    assert (decision["version"], decision["cutoff"], decision["promoted"]) == (3, champion["cutoff"], True)
    assert decision["gates"] == {"roc_auc_at_least": None, "roc_auc_no_worse_than_champion": None}

    # another model of this cutoff was evaluated: its metrics are not those of the champion
    key, tags = dg.AssetKey(["payments", "evaluation"]), {DATA_VERSION_TAG: "0"}
    event = dg.AssetMaterialization(key, partition=champion["cutoff"], metadata={"roc_auc": 0.5}, tags=tags)
    registered.instance.report_runless_asset_event(event)
    assert document("payments")["champion"]["metrics"] == {}


def test_two_use_cases_with_and_without_partitions_fit_on_one_screen(
    payments: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package,) = (file.parent.name for file in payments.folder.glob("*/definitions.py"))
    values = USE_CASES["apples"]
    write_use_case(payments.folder, package, "apples", TABLE.format(name="apples", **values))
    fruit(values["target_of"]).write_csv(payments.folder / "data" / "apples.csv")
    assert open_project().use_cases() == ["apples", "payments"]
    for day in range(5, 15, 2):
        (payments.folder / "data" / f"2018-04-{day:02}.parquet").unlink()
    invoke("run", "apples")
    invoke("run", "payments", "--to", "2018-04-20")

    monkeypatch.setenv("COLUMNS", "100")
    lines = invoke("status").splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 100
    shown = " ".join(" ".join(lines).split())
    assert "apples champion is version 1 since " in shown
    assert "version 1 promoted ✓roc_auc_at_least ✓roc_auc_better_than_prior" in shown
    assert "payments no champion" in shown
    assert "raw_data readable 2018-04-05 .. 2018-04-13 (5)" in shown
