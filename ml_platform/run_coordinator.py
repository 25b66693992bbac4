"""Dagster's queue of runs, which the daemon looks at twice a second."""

from dagster import QueuedRunCoordinator


class PromptRunCoordinator(QueuedRunCoordinator):
    """The queue with all of its limits; Dagster's own takes whole seconds for how often it is looked at."""

    @property
    def dequeue_interval_seconds(self) -> float:  # type: ignore[override]
        """Seconds between looks; the daemon waits in steps of half a second."""
        return 0.5
