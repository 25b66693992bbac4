"""The Grafana dashboard, as the JSON document that Grafana imports."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ml_platform.exporter import series

WIDTH, HEIGHT = 24, 8
CHOSEN = "$use_case"
SOURCE = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True)
class Panel:
    """A panel: its queries with the legend of each, its unit in Grafana's words, and its width of 24."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: Literal["timeseries", "stat", "table"] = "timeseries"
    width: int = 12


def _age(one: series.Series) -> str:
    return f"time() - {one.of(use_case=CHOSEN)}"


EXPECTED, PUBLISHED = (series.PARTITIONS.of(use_case=CHOSEN, state=state) for state in ("expected", "published"))
MISSING = f"{EXPECTED} - ignoring(state) {PUBLISHED}"
PANELS = (
    Panel("Champion", ((series.CHAMPION.of(use_case=CHOSEN), "{{use_case}}"),), kind="stat", width=6),
    Panel("Champion since", ((_age(series.CHAMPION_SINCE), "{{use_case}}"),), "s", "stat", 6),
    Panel("Runs waiting", ((series.RUNS.of(status="QUEUED"), "queued"),), kind="stat", width=6),
    Panel("Red checks", ((f"sum({series.CHECKS_RED.of(use_case=CHOSEN)})", "partitions"),), kind="stat", width=6),
    Panel("Open incidents", ((f"{series.INCIDENTS.name} > 0", "{{use_case}} {{severity}}"),), kind="table"),
    Panel("Runs by status", ((f"{series.RUNS.name} > 0", "{{status}}"),)),
    Panel("Last ended", ((f"time() - {series.RUN_ENDED.name}", "{{status}}"),), "s"),
    Panel("Age of the newest partition", ((_age(series.NEWEST), "{{use_case}}/{{stage}}"),), "s"),
    Panel("Partitions missing", ((MISSING, "{{use_case}}/{{stage}}"),)),
    Panel("Last published", ((_age(series.PUBLISHED), "{{use_case}}/{{stage}}"),), "s"),
    Panel("Seconds of a partition", ((series.WALL.of(use_case=CHOSEN), "{{use_case}}/{{stage}}"),), "s"),
    Panel("Processor time of a partition", ((series.CPU.of(use_case=CHOSEN), "{{use_case}}/{{stage}}"),), "s"),
    Panel("Peak memory", ((series.MEMORY.of(use_case=CHOSEN), "{{use_case}}/{{stage}}"),), "bytes"),
    Panel("Rows of a partition", ((series.ROWS.of(use_case=CHOSEN), "{{use_case}}/{{stage}}"),)),
    Panel(
        "Red checks by check",
        ((f"{series.CHECKS_RED.of(use_case=CHOSEN)} > 0", "{{use_case}}/{{stage}} {{check}}"),),
        kind="table",
    ),
    Panel("Metrics of the newest model", ((series.METRIC.of(use_case=CHOSEN), "{{use_case}} {{metric}} {{of}}"),)),
    Panel("Monitoring", ((series.MONITORING.of(use_case=CHOSEN), "{{use_case}} {{figure}}"),)),
    Panel("Last ticks", ((f"time() - {series.TICK.name}", "{{name}} {{status}}"),), "s"),
    Panel("Daemons silent for", ((f"time() - {series.HEARTBEAT.name}", "{{daemon}}"),), "s"),
)


def dashboard() -> str:
    """The dashboard; Grafana asks for the Prometheus that it reads from."""
    variables = [
        {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        {
            "name": "use_case",
            "label": "use case",
            "type": "query",
            "datasource": SOURCE,
            "query": f"label_values({series.CHECKS_RED.name}, use_case)",
            "includeAll": True,
            "multi": True,
            "refresh": 2,
        },
    ]
    document = {
        "uid": "ml-platform",
        "title": "ml_platform",
        "schemaVersion": 39,
        "refresh": "1m",
        "time": {"from": "now-7d", "to": "now"},
        "templating": {"list": variables},
        "panels": list(_placed()),
    }
    return json.dumps(document, indent=2)


def _placed() -> Iterator[dict[str, Any]]:
    """The panels from left to right in rows of equal height."""
    x = y = 0
    for number, panel in enumerate(PANELS, start=1):
        if x + panel.width > WIDTH:
            x, y = 0, y + HEIGHT
        yield {
            "id": number,
            "title": panel.title,
            "type": panel.kind,
            "datasource": SOURCE,
            "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHT},
            "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
            "targets": [
                {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query, "legendFormat": legend}
                for index, (query, legend) in enumerate(panel.queries)
            ],
        }
        x += panel.width
