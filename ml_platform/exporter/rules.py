"""The rules by which Prometheus alerts, as a rules file."""

from dataclasses import dataclass

import yaml

from ml_platform.exporter import series
from ml_platform.use_case import Severity


@dataclass(frozen=True)
class Rule:
    """An alert: the query that gives something where there is a reason, how long it must, and what is told then."""

    name: str
    query: str
    lasting: str
    severity: Severity
    summary: str


LATE = f"{series.EXPECTED.name} - {series.NEWEST.name} > 0 and time() - {series.EXPECTED.name} > 6 * 3600"
RULES = (
    Rule(
        "RunFailed",
        f"delta({series.RUNS.of(status='FAILURE')}[15m]) > 0",
        "0m",
        "high",
        "A run has failed: see Runs in the Dagster UI.",
    ),
    Rule(
        "RunsWait",
        f"{series.RUNS.of(status='QUEUED')} > 20",
        "15m",
        "medium",
        "{{ $value }} runs wait in the queue: look whether the daemon lives, or allow more at once in dagster.yaml.",
    ),
    Rule(
        "CheckRed",
        f"{series.CHECKS_RED.name} > 0",
        "5m",
        "medium",
        "{{ $labels.check }} of {{ $labels.use_case }}/{{ $labels.stage }} is red for {{ $value }} partitions.",
    ),
    Rule(
        "PartitionLate",
        LATE,
        "5m",
        "high",
        "{{ $labels.use_case }}/{{ $labels.stage }} lacks its newest partition six hours after its end.",
    ),
    Rule(
        "TickFailed",
        f"{series.TICK.of(status='FAILURE')} > 0",
        "1m",
        "high",
        "The {{ $labels.kind }} {{ $labels.name }} fails: see Automation in the Dagster UI.",
    ),
    Rule(
        "DaemonSilent",
        f"time() - {series.HEARTBEAT.name} > 300",
        "1m",
        "critical",
        "The daemon {{ $labels.daemon }} has been silent for more than five minutes; start it again.",
    ),
    Rule(
        "Drift",
        f"{series.MONITORING.of(figure='drifting_features')} > 0",
        "5m",
        "medium",
        "{{ $value }} features of {{ $labels.use_case }} have drifted: see the checks of its monitoring.",
    ),
    Rule(
        "ChampionOld",
        f"time() - {series.CHAMPION_SINCE.name} > 90 * 86400",
        "1h",
        "low",
        "The champion of {{ $labels.use_case }} has been champion for more than 90 days; do newer models fail gates?",
    ),
    Rule(
        "ExporterDown",
        'up{job="ml_platform"} == 0',
        "5m",
        "critical",
        "ml-platform metrics cannot be scraped; start it again.",
    ),
)


def rules_file() -> str:
    """The rules as the YAML file that Prometheus reads."""
    rules = [
        {
            "alert": f"MLPlatform{rule.name}",
            "expr": rule.query,
            "for": rule.lasting,
            "labels": {"severity": rule.severity},
            "annotations": {"summary": rule.summary},
        }
        for rule in RULES
    ]
    written: str = yaml.safe_dump({"groups": [{"name": "ml_platform", "rules": rules}]}, sort_keys=False, width=1000)
    return written
