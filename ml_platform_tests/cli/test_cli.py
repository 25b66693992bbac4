"""The command line as a person meets it: what it prints, its exit codes, and one sentence for each mistake."""

import json
import os
import socket
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from ml_platform.cli import COMMANDS, app
from ml_platform.cli.project import Project
from ml_platform_tests.services import free_port


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_the_help_has_a_sentence_for_every_command_and_a_typing_error_is_told() -> None:
    shown = " ".join(invoke("--help").output.split())
    assert all(f"│ {name} " in shown for name in COMMANDS)
    result = invoke("rolback")
    assert result.exit_code == 2
    assert "No such command 'rolback'. Did you mean 'rollback'?" in result.stderr


def test_run_shows_stages_metrics_gates_champion_and_quarantine(payments: Project) -> None:
    result = invoke("run", payments.use_cases()[0], "--to", "2018-04-20")
    assert result.exit_code == 0, result.output
    for word in ("raw_data", "roc_auc", "95 % interval", "roc_auc_at_least", "champion now", "quarantine"):
        assert word in result.output


def test_json_is_one_document_with_every_check(payments: Project) -> None:
    result = invoke("run", payments.use_cases()[0], "--to", "2018-04-03", "--stage", "raw_data", "--json")
    assert result.exit_code == 0, result.exception
    document = json.loads(result.stdout)
    assert document["stages"]["raw_data"]["partitions"] == 3
    assert [check["partition"] for check in document["checks"]] == ["2018-04-01", "2018-04-02", "2018-04-03"]


def test_json_counts_the_broken_rules(payments: Project) -> None:
    file = payments.folder / "data" / "2018-04-01.parquet"
    rows = pl.read_parquet(file).with_row_index()
    amount = pl.when(pl.col("index") == 0).then(-1.0).otherwise("TX_AMOUNT").alias("TX_AMOUNT")
    rows.with_columns(amount).drop("index").write_parquet(file)
    invoke("run", "payments", "--to", "2018-04-01", "--stage", "raw_data")
    result = invoke("run", "payments", "--to", "2018-04-01", "--stage", "validated_data", "--json")
    assert result.exit_code == 0, result.exception
    assert json.loads(result.stdout)["stages"]["quarantine"]["broken_rules"] == {"TX_AMOUNT min": 1}


def test_a_refused_partition_is_an_exit_code_and_a_sentence(payments: Project) -> None:
    (payments.folder / "data" / "2018-04-02.parquet").unlink()
    result = invoke("run", "payments", "--to", "2018-04-03", "--stage", "raw_data")
    assert result.exit_code == 1
    assert "raw_data 2018-04-02 readable: no file data/2018-04-02.parquet" in result.output
    assert "Traceback" not in result.output


def test_a_first_model_that_fails_its_gates_leaves_no_champion_and_says_so(payments: Project) -> None:
    (file,) = payments.folder.glob("*/defs/payments/defs.yaml")
    file.write_text(file.read_text().replace("at_least: 0.55", "at_least: 0.999"))
    result = invoke("run", "payments", "--to", "2018-04-20")
    said = " ".join(result.output.split())
    assert "version 1 is not promoted, there is no champion yet: roc_auc_at_least" in said


def test_partitions_refused_for_one_reason_share_a_line(payments: Project) -> None:
    result = invoke("run", payments.use_cases()[0], "--to", "2018-04-03")
    said = " ".join(result.output.split())
    assert result.exit_code == 1
    assert "predictions 2018-04-01 .. 2018-04-03 (3) predicted: payments has no champion" in said
    assert said.count("has no champion") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "payment"], "there is no use case 'payment'; did you mean 'payments'?"),
        (["run", "payments", "--stage", "feature"], "there is no stage 'feature'; did you mean 'features'?"),
        (["run", "payments", "--to", "2019-01-01"], "--to 2019-01-01 is no partition; partitions go from 2018-04-01"),
        (["run", "payments", "--from", "2018-04-09", "--to", "2018-04-02"], "lies after --to 2018-04-02"),
        (["run", "payments", "--to", "2018-04-02", "--stage", "model"], "no model's windows lie whole before"),
        (["status", "nothing"], "there is no use case 'nothing'"),
    ],
)
def test_a_mistake_is_one_sentence(payments: Project, arguments: list[str], sentence: str) -> None:
    assert payments.use_cases() == ["payments"]
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_wrong_yaml_is_told_by_file_line_and_field(payments: Project) -> None:
    (yaml,) = payments.folder.glob("project_*/defs/payments/defs.yaml")
    yaml.write_text(yaml.read_text().replace("quarantine_at_most", "quarantine_at_moist").replace("label:", "lable:"))
    result = invoke("run", "payments")
    assert result.exit_code == 2
    assert "attributes.lable at " in result.stderr
    assert f"{yaml}:" in result.stderr
    assert "did you mean 'label'?" in result.stderr


def test_outside_a_project_it_says_where_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("status")
    assert result.exit_code == 2
    assert "go to the project's folder" in result.stderr


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "mlflow ui --backend-store-uri sqlite:///{home}/mlflow.db"),
        ("http://me:hushhush@mlflow:5000", "The models and runs in MLflow: http://mlflow:5000"),
        ("postgresql://me:hushhush@host/mlflow", 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'),
    ],
)
def test_dev_says_where_mlflow_is(
    payments: Project, monkeypatch: pytest.MonkeyPatch, given: str | None, told: str
) -> None:
    if given:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    monkeypatch.setattr(os, "execve", lambda *_: None)  # or this process would be the UI
    result = invoke("dev", "--port", f"{free_port()}")
    assert result.stdout.endswith(told.format(home=payments.folder / ".ml_platform") + "\n")
    assert "hushhush" not in result.output


def test_a_port_in_use_is_a_sentence(payments: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = invoke("dev", "--port", str(taken.getsockname()[1]))
    assert payments.folder.exists()
    assert result.exit_code == 2
    assert "is in use; give another one with --port" in result.stderr
