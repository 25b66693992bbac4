"""Progress on the terminal: one bar a stage, fed by the events of the run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from ml_platform.use_case import Stage


class StageProgress:
    """Bars of the stages that run now."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def expect(self, stages: Sequence[Stage], partitions: int) -> None:
        """Add a bar for each stage, full when that many partitions are published."""
        for stage in stages:
            self._tasks[stage] = self._bars.add_task(stage, total=partitions, start=False)

    def listen(self, entry: dg.EventLogEntry) -> None:
        """Take in one event of a run."""
        event = entry.dagster_event
        if event is None:
            return
        if event.is_step_materialization and event.asset_key:
            task = self._tasks.get(event.asset_key.path[-1])
            if task is not None:  # quarantine is published with validated_data, whether it was asked for or not
                self._bars.start_task(task)
                self._bars.advance(task)


@contextmanager
def shown_progress(*, quiet: bool) -> Iterator[StageProgress]:
    """Bars on standard error while the block runs; none where quiet."""
    columns = (
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description:<15}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bars:
        yield StageProgress(bars)
