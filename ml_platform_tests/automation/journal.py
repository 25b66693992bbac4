"""What happened on a simulated clock, in lines that can be compared: runs, incidents, moves of the champion."""

import re
from collections import defaultdict
from dataclasses import dataclass, replace

from ml_platform.stages import ledger
from ml_platform_tests.automation.simulation import Simulation

TITLE = re.compile(r"\[(?P<state>\w+)(?P<still>, still)?\] (?:\w+: )?(?P<what>.*?)(?:, (?P<partitions>\d{4}-.*))?$")
INCIDENT = re.compile(r"^Incident (\w+)$", re.MULTILINE)
DAY_AND_TIME = "%m-%d %H:%M"


@dataclass(frozen=True)
class Told:
    """An incident, by the messages that were received of it."""

    what: str
    severity: str
    opened: str
    resolved: str
    partitions: str
    messages: int

    def __str__(self) -> str:
        over = f"..{self.resolved}" if self.resolved else ""
        named = f" {self.partitions}" if self.partitions else ""
        return f"{self.opened}{over} [{self.severity}] {self.what}{named}: {self.messages}"


def runs(simulation: Simulation) -> list[str]:
    """The runs, each with the simulated time."""
    return [f"{one.at:{DAY_AND_TIME}} {one}" for one in simulation.launched]


def incidents(simulation: Simulation) -> list[Told]:
    """The incidents by what was told of them, in the order in which they were opened.

    Left out are checks that a killed run has not come to and its retry has: where the kill hit it is luck.
    """
    found: dict[str, Told] = {}
    counted: dict[str, int] = defaultdict(int)
    for moment, message in simulation.told:
        said, name = TITLE.fullmatch(message["title"]), INCIDENT.search(message["message"])
        assert said is not None, message
        assert name is not None, message
        counted[name[1]] += 1
        at, partitions = f"{moment:{DAY_AND_TIME}}", said["partitions"] or ""
        first = found.setdefault(name[1], Told(said["what"], said["state"], at, "", partitions, 1))
        resolved = at if said["state"] == "resolved" else ""
        found[name[1]] = replace(first, resolved=resolved, partitions=partitions, messages=counted[name[1]])
    killed = {(f"{one.at:{DAY_AND_TIME}}", one.last) for one in simulation.launched if one.end == "killed"}
    by_luck = [one for one in found.values() if one.what.endswith("gave no verdict") and one.opened == one.resolved]
    return [one for one in found.values() if one not in by_luck or (one.opened, one.partitions) not in killed]


def champions(simulation: Simulation, use_case: str) -> list[str]:
    """The ledger of champions, the oldest first."""
    return [
        f"{one.event}: version {one.version} of {one.cutoff} after {one.from_version or 'none'}"
        for one in ledger.read(simulation.project.work(use_case)).entries
    ]
