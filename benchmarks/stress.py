"""Kills: runs ended at random moments, one after another, with what must hold after each of them.

python benchmarks/stress.py --kills 200
"""

import argparse
import random
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic

from ml_platform_tests.drills import DAYS, NEW, OLD, Drill, Home, Job, drill, write_source

A_HOME = 25
"""The kills after which a new home is begun, so that its tables' logs stay short."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill runs, print what was found and a summary; 0 if all held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    moments, begin = random.Random(chosen.seed), monotonic()  # noqa: S311 - picks moments, keeps no secret
    with TemporaryDirectory() as folder, drill(Path(folder)) as there:
        back = Drill(there.warm, there.project, old=there.new, new=there.old)
        seconds = duration(there, Path(folder) / "timed")
        print(f"A run of {len(DAYS)} days in chunks of two takes {seconds:.2f} s; seed {chosen.seed}.", flush=True)
        found: Counter[str] = Counter()
        failures: list[str] = []
        home = there.old
        for number in range(chosen.kills):
            if number % A_HOME == 0 or failures[-1:] == [f"{number - 1}"]:
                home = _begin(there, Path(folder) / f"home-{number}", number)
            direction = there if number % 2 == 0 else back
            write_source(there.project, NEW if number % 2 == 0 else OLD)
            after = moments.uniform(0.001, seconds)
            try:
                found.update(kill_and_repair(direction, home, after))
            except AssertionError as error:
                failures.append(f"{number}")
                print(f"Kill {number}, after {after:.3f} s: {error}", flush=True)
            if (number + 1) % A_HOME == 0:
                print(f"{number + 1} kills, {monotonic() - begin:.0f} s: {_told(found)}", flush=True)
    print(f"{chosen.kills} kills: {_told(found)}; {len(failures)} failures.")
    return 1 if failures else 0


def duration(there: Drill, folder: Path) -> float:
    """The seconds from where a run can be killed to its end, the median of three."""
    taken = []
    for number in range(3):
        home = there.old.copy(folder / str(number))
        end, log = there.warm.run(home, Job())
        assert end == 0, log
        with home.instance() as instance:
            (run,) = instance.get_run_records(limit=1)
        assert run.end_time is not None
        taken.append(run.end_time - run.create_timestamp.timestamp())
    return median(taken)


def kill_and_repair(direction: Drill, home: Home, after: float) -> Counter[str]:
    """Kill a run and run again, and look at what is stored and recorded after each; what kind of kill it was.

    Raises:
        AssertionError: something is torn, lost, doubled, not recorded, or was computed once more.
    """
    end, log = direction.warm.run(home, Job(seconds=after))
    numbers = direction.assert_whole(home)
    stored, recorded = (sum(counts) for counts in zip(*numbers.values(), strict=True))
    if end == 0:
        kind = "after the end"
    elif stored == 0:
        kind = "before the first commit"
    elif stored == recorded:
        kind = "between a record and the next commit"
    else:
        kind = "between a commit and its record"
    assert end in {0, -14}, log
    again, log = direction.warm.run(home, Job(days_a_chunk=5))
    assert again == 0, log
    direction.assert_new(home)
    # quarantine is published before validated_data and found unchanged with it
    numbers["quarantine"] = min(numbers["quarantine"], numbers["validated_data"])
    unchanged, described = direction.unchanged(home), direction.described(home)
    for stage, (now, known) in numbers.items():
        assert known <= unchanged[stage] <= now, f"{stage}: {unchanged[stage]} unchanged of {now} that were stored"
        assert described[stage] >= len(DAYS) - (now - known), f"{stage}: {described[stage]} described"
    kept = sum(unchanged.values())
    return Counter(
        {kind: 1, "repaired runs": end != 0, "partitions kept": kept, "partitions computed again": 40 - kept}
    )


def _begin(there: Drill, folder: Path, number: int) -> Home:
    """A home with what the source had before this kill."""
    for old in folder.parent.glob("home-*"):
        shutil.rmtree(old)
    return (there.old if number % 2 == 0 else there.new).copy(folder)


def _told(found: Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in sorted(found.items()))


if __name__ == "__main__":
    sys.exit(main())
