"""The exported series: their names, what they mean, and their labels."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """A gauge: what it is now, as the instance's storage says; nothing is counted by the exporter itself."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()

    def of(self, **labels: str) -> str:
        """The query of this series, for some values of its labels.

        Raises:
            ValueError: it has no such label.
        """
        if unknown := sorted(set(labels) - set(self.labels)):
            raise ValueError(f"{self.name} has no label '{unknown[0]}', only {', '.join(self.labels)}.")
        chosen = ", ".join(
            f'{label}=~"{value}"' if value.startswith("$") else f'{label}="{value}"' for label, value in labels.items()
        )
        return f"{self.name}{{{chosen}}}" if chosen else self.name


STAGE = ("use_case", "stage")

RUNS = Series("ml_platform_runs", "Runs in storage by their status; those of QUEUED are waiting.", ("status",))
RUN_ENDED = Series(
    "ml_platform_run_ended_timestamp_seconds", "When the newest run with this status ended.", ("status",)
)
PUBLISHED = Series(
    "ml_platform_published_timestamp_seconds", "When the stage was last published or found unchanged.", STAGE
)
PARTITIONS = Series(
    "ml_platform_partitions", "Partitions that are published, and those expected by now.", (*STAGE, "state")
)
NEWEST = Series(
    "ml_platform_newest_partition_timestamp_seconds",
    "The moment that the newest published partition reaches: the end of its time, or its cutoff.",
    STAGE,
)
EXPECTED = Series(
    "ml_platform_expected_partition_timestamp_seconds",
    "The moment that the newest partition expected by now reaches.",
    STAGE,
)
ROWS = Series("ml_platform_stage_rows", "Rows of the newest partition.", STAGE)
WALL = Series("ml_platform_stage_wall_seconds", "Seconds on the clock that the newest partition took.", STAGE)
CPU = Series("ml_platform_stage_cpu_seconds", "Seconds of processor time that the newest partition took.", STAGE)
MEMORY = Series(
    "ml_platform_stage_peak_memory_bytes", "The greatest memory while the newest partition was made.", STAGE
)
CHECKS_RED = Series(
    "ml_platform_checks_red", "Partitions whose newest verdict by the check is a failure.", (*STAGE, "check")
)
METRIC = Series(
    "ml_platform_model_metric",
    "A metric of the newest evaluation: of the model, the bounds of its 95 % interval, and the baselines.",
    ("use_case", "metric", "of"),
)
CHAMPION = Series("ml_platform_champion_version", "The version that is champion, 0 for none.", ("use_case",))
CHAMPION_SINCE = Series("ml_platform_champion_timestamp_seconds", "Since when the champion is champion.", ("use_case",))
MONITORING = Series(
    "ml_platform_monitoring", "A figure of the newest partition of the stage monitoring.", ("use_case", "figure")
)
INCIDENTS = Series("ml_platform_open_incidents", "Incidents that go on, by their severity.", ("use_case", "severity"))
TICK = Series(
    "ml_platform_tick_timestamp_seconds", "When the schedule or sensor last ticked.", ("name", "kind", "status")
)
HEARTBEAT = Series("ml_platform_daemon_heartbeat_timestamp_seconds", "When the daemon was last alive.", ("daemon",))

ALL: tuple[Series, ...] = (
    RUNS,
    RUN_ENDED,
    PUBLISHED,
    PARTITIONS,
    NEWEST,
    EXPECTED,
    ROWS,
    WALL,
    CPU,
    MEMORY,
    CHECKS_RED,
    METRIC,
    CHAMPION,
    CHAMPION_SINCE,
    MONITORING,
    INCIDENTS,
    TICK,
    HEARTBEAT,
)
