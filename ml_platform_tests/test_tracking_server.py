"""The whole of a model's life with a tracking server, which takes less on trust than MLflow's database does."""

import tempfile
from pathlib import Path
from urllib.request import urlopen

import dagster as dg
import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from ml_platform.cli import app
from ml_platform_tests.services import tracking_server
from ml_platform_tests.tiny_project import CUTOFF, Variant, tiny_project, told


def test_all_stages_and_moves_with_a_tracking_server_that_keeps_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        tracking_server(tmp_path) as server,
        tiny_project(tmp_path, {"served": Variant(days=8)}, MLFLOW_TRACKING_URI=server.uri) as project,
    ):
        server.start()
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        for day in ("2024-01-07", "2024-01-08"):
            told("run", "served", "--to", day)
        assert project.work("served").rows("predictions", ["2024-01-01"]).collect().height > 0

        client = MlflowClient(server.uri)
        first, second = (client.get_model_version("served", number) for number in ("1", "2"))
        assert client.get_model_version_by_alias("served", "champion").version == second.version
        assert told("rollback", "served", "--why", "it was better")["version"] == 1
        assert client.get_model_version_by_alias("served", "champion").version == first.version
        assert told("promote", "served", "2", "--why", "it is better")["version"] == 2
        mistake = CliRunner().invoke(app, ["rollback", "served", "--to", "9", "--why", "a slip"])
        assert mistake.stderr == "ml-platform: served has no version 9; the newest are 1, 2.\n"
        assert told("reproduce", "served@1")["equal"] is True
        assert told("compare", "served", "1", "2")["rows"]

        (page,) = project.instance.fetch_materializations(dg.AssetKey(["served", "promotion"]), limit=1).records
        assert page.asset_materialization is not None
        shown = f"{server.uri}/#/experiments/1/runs/{second.run_id}/artifacts/report.html"
        assert page.asset_materialization.metadata["report"] == dg.MetadataValue.url(shown)
        with urlopen(f"{server.uri}/get-artifact?path=report.html&run_uuid={second.run_id}") as answer:  # noqa: S310 - of this machine
            assert "served 2" in answer.read().decode()
        assert client.get_run(first.run_id).data.tags["cutoff"] == CUTOFF
        assert not (project.folder / ".ml_platform" / "artifacts").exists()
        assert list(temporary.iterdir()) == []
