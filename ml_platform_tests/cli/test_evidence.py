"""The command `evidence`: the folder has every part, and nothing is ever written over."""

import csv
import json
from pathlib import Path

from deltalake import DeltaTable
from typer.testing import CliRunner, Result

from ml_platform.cli import app
from ml_platform.cli.project import Project
from ml_platform.cli.runs import runs_of
from ml_platform.stages import ledger


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))


def test_the_folder_has_every_part_and_a_page_that_leads_to_all_of_them(registered: Project) -> None:
    folder = registered.folder / "shown"
    folder.mkdir()  # an empty one is filled
    result = invoke("evidence", "payments", "--to", "shown")
    assert result.exit_code == 0, result.output
    files = {file.name for file in folder.iterdir()}
    assert files == {
        *("index.md", "pipeline.svg", "pipeline.mmd", "payments.yaml", "use_case.json", "gates.csv"),
        *("model_card.html", "lineage.json", "ledger.csv", "runs.csv", "dashboard.json", "alert_rules.yml"),
    }
    index = (folder / "index.md").read_text()
    assert all(f"]({name})" in index for name in files - {"index.md"})
    assert "| roc_auc_at_least | roc_auc at least 0.55 on the hold-out | passed |" in index
    assert "3 of 3 runs succeeded (100.0%)." in index
    assert (folder / "payments.yaml").read_text().lstrip().startswith("type: ml_platform.components.UseCase")
    assert json.loads((folder / "use_case.json").read_text())["name"] == "payments"
    assert json.loads((folder / "lineage.json").read_text())["version"] == "payments@3"
    assert "<title>payments 3" in (folder / "model_card.html").read_text()
    assert [one["version"] for one in rows(folder / "ledger.csv")] == ["1", "2", "3"]
    assert {(one["version"], one["gate"], one["passed"]) for one in rows(folder / "gates.csv")} == {
        (version, gate, "true") for version in "123" for gate in ("roc_auc_at_least", "roc_auc_no_worse_than_champion")
    }


def test_what_is_there_is_not_written_over(registered: Project) -> None:
    for name, content in (("note.txt", "mine"), ("shown/note.txt", "mine")):
        file = registered.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
    before = sorted(registered.folder.iterdir())
    for to in ("shown", "note.txt"):
        result = invoke("evidence", "payments", "--to", to)
        assert result.exit_code == 2
        assert "is there and not an empty folder; say another one with --to." in " ".join(result.stderr.split())
    assert (registered.folder / "shown" / "note.txt").read_text() == (registered.folder / "note.txt").read_text()
    assert sorted(registered.folder.iterdir()) == before


def test_a_failed_run_has_the_time_to_the_next_success_of_the_same_assets_and_partitions(payments: Project) -> None:
    file = payments.folder / "data" / "2018-04-02.parquet"
    file.rename(file.with_suffix(".away"))
    first = ("run", "payments", "--to", "2018-04-02", "--stage", "raw_data")
    assert invoke(*first).exit_code == 1
    assert invoke("run", "payments", "--to", "2018-04-01", "--stage", "raw_data").exit_code == 0
    nothing = invoke("evidence", "payments", "--to", "before")
    assert nothing.exit_code == 0, nothing.output
    index = (payments.folder / "before" / "index.md").read_text()
    assert "1 of 2 runs succeeded (50.0%)." in index
    assert "| not yet |" in index
    assert "No model was judged so far." in index
    assert "There was no champion so far." in index

    file.with_suffix(".away").rename(file)
    assert invoke(*first).exit_code == 0
    failed, other, mended = runs_of(payments.instance, "payments")
    assert [one.succeeded for one in (failed, other, mended)] == [False, True, True]
    assert (failed.assets, failed.partitions) == ("raw_data", "2018-04-01 .. 2018-04-02")
    assert failed.recovered_after is not None
    assert abs(failed.recovered_after - (mended.ended - failed.ended).total_seconds()) < 1e-3
    assert other.recovered_after is None
    assert runs_of(payments.instance, "others") == []


def test_there_is_no_evidence_of_a_champion_that_ledger_and_mlflow_do_not_agree_on(registered: Project) -> None:
    DeltaTable(registered.work("payments").lake.address(ledger.ledger_key("payments"))).restore(1)
    result = invoke("evidence", "payments", "--to", "shown")
    assert result.exit_code == 2
    assert "the ledger of payments lacks the move that" in " ".join(result.stderr.split())
    assert not (registered.folder / "shown").exists()
