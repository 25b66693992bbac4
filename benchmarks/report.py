"""The tables that a benchmark prints, as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.contenders import Measured

SAID = {True: "reached", False: "**missed**", None: ""}


@dataclass(frozen=True)
class Target:
    """What was to be reached, what was measured, in words, and whether it was reached; None if not measured."""

    wanted: str
    found: str
    reached: bool | None


def wall(runs: Sequence[Measured]) -> float:
    """The median of the wall seconds."""
    return median(one.cost.wall for one in runs)


def cpu(runs: Sequence[Measured]) -> float:
    """The median of the processor seconds."""
    return median(one.cost.cpu for one in runs)


def peak(runs: Sequence[Measured]) -> float:
    """The median of the peaks of memory, in MiB."""
    return median(one.cost.peak for one in runs)


def at_most(what: str, value: float, bound: float, unit: str) -> Target:
    """A target that a value keeps by being at most a bound."""
    return Target(f"{what}: at most {bound:g}{unit}", f"{value:.2f}{unit}", value <= bound)


def at_least(what: str, value: float, bound: float, unit: str) -> Target:
    """A target that a value keeps by being at least a bound."""
    return Target(f"{what}: at least {bound:g}{unit}", f"{value:.1f}{unit}", value >= bound)


def costs(results: Mapping[str, Sequence[Measured]], days: int | None = None) -> str:
    """A row for each contender, with its times as multiples of the first's; `days` is how many each had to do."""
    first = next(iter(results.values()))
    rows = [
        [
            title if days in {None, runs[0].days} else f"{title} ({runs[0].days} of {days} days, scaled)",
            f"{wall(runs):.2f}",
            f"{min(one.cost.wall for one in runs):.2f} - {max(one.cost.wall for one in runs):.2f}",
            f"{wall(runs) / wall(first):.2f}",
            f"{cpu(runs):.2f}",
            f"{cpu(runs) / cpu(first):.2f}",
            f"{peak(runs):.0f}",
        ]
        for title, runs in results.items()
    ]
    return table(["", "wall s, median", "range", "x first", "CPU s", "x first", "peak MiB"], rows)


def steps(title: str, runs: Sequence[Measured]) -> str:
    """The seconds of a contender's steps, medians of the runs, and what is left of its wall time."""
    names = dict.fromkeys(name for one in runs for name in one.steps)
    seconds = {name: median(one.steps.get(name, 0.0) for one in runs) for name in names}
    seconds["all else (start, events, end)"] = median(one.cost.wall - sum(one.steps.values()) for one in runs)
    return table([f"steps of {title}", "s"], [[name, f"{value:.2f}"] for name, value in seconds.items()])


def targets(found: Sequence[Target]) -> str:
    """A row for each target."""
    rows = [[one.wanted, one.found, SAID[one.reached]] for one in found]
    return table(["target", "measured", ""], rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells as a Markdown table whose columns stand below each other; all but the first are numbers."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    texts = [
        "| "
        + " | ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in lines
    ]
    rule = (
        "|"
        + "|".join("-" * (width + 2) if column == 0 else "-" * (width + 1) + ":" for column, width in enumerate(widths))
        + "|"
    )
    return "\n".join([texts[0], rule, *texts[1:]])
