import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import dagster as dg
import pytest
import requests

from ml_platform.cli.project import Project
from ml_platform.exporter.dashboard import PANELS, dashboard
from ml_platform.exporter.readings import readings
from ml_platform.exporter.rules import RULES, rules_file
from ml_platform.exporter.series import ALL, CHECKS_RED, RUNS
from ml_platform.exporter.server import serve
from ml_platform_tests.services import free_port

PROMETHEUS = shutil.which("prometheus")
HOST = "127.0.0.1"
# what the stages of this project do not record, or only a daemon does
NOT_HERE = {"ml_platform_tick_timestamp_seconds", "ml_platform_daemon_heartbeat_timestamp_seconds"}


def values(project: Project) -> dict[tuple[str, ...], float]:
    graph = project.definitions.resolve_asset_graph()
    return {(one.series.name, *one.labels): one.value for one in readings(project.instance, graph, project.lake)}


def test_what_is_read_is_what_was_recorded(registered: Project) -> None:
    read = values(registered)
    promoted = registered.instance.get_latest_materialization_event(dg.AssetKey(["payments", "ledger"]))
    evaluated = registered.instance.get_latest_materialization_event(dg.AssetKey(["payments", "evaluation"]))
    assert promoted is not None
    assert evaluated is not None
    assert evaluated.asset_materialization is not None
    roc_auc = evaluated.asset_materialization.metadata["roc_auc"].value
    assert read["ml_platform_champion_version", "payments"] == 3
    assert read["ml_platform_champion_timestamp_seconds", "payments"] == promoted.timestamp
    assert read["ml_platform_model_metric", "payments", "roc_auc", "model"] == roc_auc
    assert read["ml_platform_partitions", "payments", "raw_data", "published"] == 29
    assert read["ml_platform_partitions", "payments", "raw_data", "expected"] == 30
    assert read["ml_platform_checks_red", "payments", "validated_data", "contract"] == 0
    newest = read["ml_platform_newest_partition_timestamp_seconds", "payments", "features"]
    assert read["ml_platform_expected_partition_timestamp_seconds", "payments", "features"] - newest == 86_400


def test_a_run_that_crashed_is_counted(registered: Project) -> None:
    before = values(registered)["ml_platform_runs", "FAILURE"]
    run = registered.instance.create_run_for_job(registered.job, status=dg.DagsterRunStatus.STARTED)
    registered.instance.report_run_failed(run)
    assert values(registered)["ml_platform_runs", "FAILURE"] == before + 1


def test_a_storage_that_cannot_be_read_fails_the_scrape() -> None:
    def read() -> Iterator[Any]:
        raise OSError("the disk is gone")

    port = free_port()
    server, thread = serve(read, HOST, port)
    assert requests.get(f"http://{HOST}:{port}/metrics", timeout=10).status_code == 500
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_query_names_only_labels_that_there_are() -> None:
    with pytest.raises(ValueError, match="ml_platform_runs has no label 'stage', only status"):
        RUNS.of(stage="features")
    assert CHECKS_RED.of(use_case="$use_case", check="volume") == (
        'ml_platform_checks_red{use_case=~"$use_case", check="volume"}'
    )


def test_the_dashboard_has_all_panels_side_by_side() -> None:
    placed = json.loads(dashboard())["panels"]
    assert [one["title"] for one in placed] == [panel.title for panel in PANELS]
    cells = [(one["gridPos"]["x"] + x, one["gridPos"]["y"]) for one in placed for x in range(one["gridPos"]["w"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23


@pytest.mark.skipif(PROMETHEUS is None, reason="needs prometheus: apt-get install prometheus")
def test_a_real_prometheus_scrapes_and_answers_every_query(registered: Project, tmp_path: Path) -> None:
    graph, exported, asked = registered.definitions.resolve_asset_graph(), free_port(), free_port()
    server, thread = serve(lambda: readings(registered.instance, graph, registered.lake), HOST, exported)
    (tmp_path / "rules.yml").write_text(rules_file())
    subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yml"], check=True)
    (tmp_path / "prometheus.yml").write_text(
        f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [rules.yml]
scrape_configs: [{{job_name: ml_platform, static_configs: [{{targets: ["{HOST}:{exported}"]}}]}}]
"""
    )
    arguments = [
        *(str(PROMETHEUS), f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}"),
        f"--web.listen-address={HOST}:{asked}",
    ]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(arguments, stderr=log, stdout=log) as prometheus:
        try:
            assert eventually(asked, "count(ml_platform_partitions)"), (tmp_path / "log").read_text()
            missing = {one.name for one in ALL if not query(asked, one.name)}
            assert missing <= NOT_HERE
            exported_names = {one.name for one in ALL}
            for panel in PANELS:
                for expression, _ in panel.queries:
                    query(asked, expression.replace("$use_case", ".*"))  # Prometheus refuses what it cannot read
                    assert any(name in expression for name in exported_names), expression
            rules = requests.get(f"http://{HOST}:{asked}/api/v1/rules", timeout=10).json()["data"]["groups"][0]["rules"]
            assert [one["name"] for one in rules] == [f"MLPlatform{rule.name}" for rule in RULES]
            assert {one["health"] for one in rules} <= {"ok", "unknown"}
            assert eventually(asked, 'ALERTS{alertname="MLPlatformPartitionLate", stage="features"}')
        finally:
            os.kill(prometheus.pid, signal.SIGTERM)
    server.shutdown()
    server.server_close()
    thread.join()


def query(port: int, expression: str) -> list[Any]:
    answer = requests.get(f"http://{HOST}:{port}/api/v1/query", params={"query": expression}, timeout=10).json()
    assert answer["status"] == "success", (expression, answer)
    result: list[Any] = answer["data"]["result"]
    return result


def eventually(port: int, expression: str, seconds: float = 30) -> bool:
    """Whether a query has a result before so many seconds are over."""
    end = monotonic() + seconds
    while monotonic() < end:
        try:
            if query(port, expression):
                return True
        except requests.RequestException:
            pass  # it has not started yet
        sleep(0.2)
    return False
