"""The shipped definitions: what they hold, and what loading them does not import."""

import json
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value

from ml_platform.definitions import defs
from ml_platform.use_case import STAGES

ROOT = Path(__file__).parents[1]
HEAVY = (
    "mlflow",
    "dagster_mlflow",
    "sklearn",
    "scipy",
    "matplotlib",
    "pandas",
    "skops",
    "deltalake",
    "numpy",
    "optuna",
    "apprise",
)


def test_loading_imports_no_heavy_library() -> None:
    code = "import json, sys; from ml_platform.definitions import defs; defs(); print(json.dumps(sorted(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert set(HEAVY) & set(json.loads(printed)) == set()


# Dagster's own; drop when it no longer reads what it deprecates
@pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition.environment_vars` is deprecated")
def test_the_password_of_mlflow_s_address_is_in_nothing_that_the_ui_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg2://me:hushhush@127.0.0.1:1/mlflow")
    told = serialize_value(RepositorySnap.from_def(defs().get_repository_def()))
    assert "MLFLOW_TRACKING_URI" in told
    assert "hushhush" not in told


def test_links_lead_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", "https://dagster.example")
    monkeypatch.setenv("MLFLOW_UI_URL", "https://mlflow.example")
    resources = defs().resources
    assert resources is not None
    tracking, alerts = resources["tracking"], resources["alerts"]
    assert {tracking.webserver, alerts.webserver} == {"https://dagster.example"}
    assert tracking.ui == "https://mlflow.example"


def test_the_shipped_use_case_has_every_stage_in_one_group_with_owner_and_kind() -> None:
    graph = defs().resolve_asset_graph()
    nodes = {key.path[-1]: graph.get(key) for key in graph.get_all_asset_keys() if key.path[0] == "card_fraud"}
    assert set(nodes) == {*STAGES, "ledger"}
    for stage, node in nodes.items():
        assert node.group_name == "card_fraud"
        assert node.owners == ["team:risk"]
        # the ledger is no stage: a line is written whenever the champion changes, by promotion or by a person
        assert node.tags.get("ml_platform/stage") == (stage if stage in STAGES else None)
        assert any(tag.startswith("dagster/kind/") for tag in node.tags)
        assert node.description


def test_every_stage_but_quarantine_has_a_blocking_check_with_a_verdict_per_partition() -> None:
    graph = defs().resolve_asset_graph()
    blocking = {key.asset_key.path[-1] for key in graph.asset_check_keys if graph.get(key).blocking}
    assert blocking == set(STAGES) - {"quarantine"}
    assert all(graph.get(key).partitions_def is not None for key in graph.asset_check_keys)


def test_data_flows_one_way() -> None:
    graph = defs().resolve_asset_graph()
    parents = {
        key.path[-1]: {parent.path[-1] for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
        if key.path[0] == "card_fraud"
    }
    assert parents == {
        "raw_data": set(),
        "validated_data": {"raw_data"},
        "quarantine": {"raw_data"},
        "features": {"validated_data"},
        "model": {"validated_data", "features"},
        "evaluation": {"validated_data", "features", "model"},
        "promotion": {"features", "model", "evaluation"},
        "ledger": {"promotion"},
        "predictions": {"features", "promotion"},
        "monitoring": {"features", "predictions"},
    }


def test_data_is_partitioned_by_day_and_models_by_weekly_cutoff() -> None:
    graph = defs().resolve_asset_graph()
    days = graph.get(dg.AssetKey(["card_fraud", "features"])).partitions_def
    cutoffs = graph.get(dg.AssetKey(["card_fraud", "model"])).partitions_def
    assert days is not None
    assert cutoffs is not None
    assert (days.get_first_partition_key(), len(days.get_partition_keys())) == ("2018-04-01", 183)
    assert "2018-08-22" in cutoffs.get_partition_keys()
