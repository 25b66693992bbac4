"""What a command or a running server costs: wall time, processor time, and memory of its whole process tree."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from time import perf_counter, sleep

SAMPLE_SECONDS = 0.05
SETTLE_SECONDS = 5.0
TICK, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
KIBIBYTE, MEBIBYTE = 2**10, 2**20


@dataclass(frozen=True)
class Cost:
    """Seconds of wall time and of the processor (user and system), and the highest memory in MiB."""

    wall: float
    cpu: float
    peak: float

    def __add__(self, other: "Cost") -> "Cost":
        """The cost of one after the other."""
        return Cost(self.wall + other.wall, self.cpu + other.cpu, max(self.peak, other.peak))

    def times(self, factor: float) -> "Cost":
        """The cost of doing it so many times."""
        return Cost(self.wall * factor, self.cpu * factor, self.peak)


@dataclass(frozen=True)
class _Process:
    parent: int
    ticks: int
    pages: int


def _processes() -> dict[int, _Process]:
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                text = Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:  # it has ended meanwhile
                continue
            # after the name, which may hold anything: state, parent, ... utime, stime, cutime, cstime, ... rss
            values = text.rpartition(")")[2].split()
            found[int(entry.name)] = _Process(int(values[1]), sum(map(int, values[11:15])), int(values[21]))
    return found


def tree(root: int) -> dict[int, _Process]:
    """A process and all that descend from it."""
    every = _processes()
    chosen = {root} & set(every)
    while more := {pid for pid, one in every.items() if one.parent in chosen} - chosen:
        chosen |= more
    return {pid: every[pid] for pid in chosen}


def _high_water(pid: int) -> float:
    """The high-water mark of a process' own resident memory in MiB.

    `ru_maxrss` is none: it begins with the memory of the process that began this one.
    """
    try:
        text = Path("/proc", str(pid), "status").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended meanwhile
        return 0.0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM:")) * KIBIBYTE / MEBIBYTE


class Peak:
    """The highest memory of a process tree in MiB, sampled.

    The larger of the sum of the resident memory, in which pages that processes share count in each, and the high-water
    mark of the largest process.
    """

    def __init__(self, root: int) -> None:
        self.mebibytes = 0.0
        self._root, self._ended = root, Event()
        self._thread = Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            processes = tree(self._root)
            pages = sum(one.pages for one in processes.values())
            self.mebibytes = max(self.mebibytes, pages * PAGE / MEBIBYTE, *map(_high_water, processes))

    def end(self) -> float:
        """Stop sampling; the peak in MiB."""
        self._ended.set()
        self._thread.join()
        return self.mebibytes


def command(arguments: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> tuple[Cost, str]:
    """Run a command to its end; what it cost, and what it wrote to standard output.

    The processor time is that of the process and of all descendants that were waited for (wait4).

    Raises:
        SystemExit: the command failed.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as problems:
        begin = perf_counter()
        process = subprocess.Popen(
            [str(one) for one in arguments], cwd=folder, env={**os.environ, **environment}, stdout=out, stderr=problems
        )
        peak = Peak(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        wall = perf_counter() - begin
        mebibytes = peak.end()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        problems.seek(0)
        said = out.read().decode()
        if process.returncode:
            raise SystemExit(
                f"{' '.join(map(str, arguments))} ended with {process.returncode}:\n{said[-3000:]}\n"
                f"{problems.read().decode()[-3000:]}"
            )
    return Cost(wall, usage.ru_utime + usage.ru_stime, mebibytes), said


@contextmanager
def within(root: int) -> Iterator[list[Cost]]:
    """What a running process tree costs during the block; the list holds it afterwards.

    The wall time ends with the block; processes that the tree started in it are then waited for, as their processor
    time is known once they have ended.
    """
    cost: list[Cost] = []
    before = tree(root)
    peak, begin = Peak(root), perf_counter()
    yield cost
    wall = perf_counter() - begin
    mebibytes = peak.end()
    limit = perf_counter() + SETTLE_SECONDS
    while (after := tree(root)).keys() - before.keys() and perf_counter() < limit:
        sleep(SAMPLE_SECONDS)
    ticks = sum(one.ticks for one in after.values()) - sum(one.ticks for one in before.values())
    cost.append(Cost(wall, ticks / TICK, mebibytes))
