"""Incidents: what goes on or was noticed, until everybody has been told; kept in one file of the lake."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self
from uuid import uuid4

from dagster._time import get_current_datetime
from pydantic import BaseModel, ConfigDict, Field
from upath import UPath

from ml_platform.resources.lake import Lake, put
from ml_platform.use_case import Kind, Severity

WHOLE = ""
"""The one partition of what has none."""


@dataclass(frozen=True)
class Finding:
    """Something seen, bad or good: of an asset's check, of the assets of a run, of a sensor or schedule.

    What is good ends the incidents it is about, for its partitions, and for earlier ones too if it is good
    `from_here_on`. A `notice` has no end to wait for: it is told once. The use case is `""` where it concerns all of
    the project.
    """

    kind: Kind
    use_case: str
    subject: str
    passed: bool
    partitions: Sequence[str] = (WHOLE,)
    assets: frozenset[str] = frozenset()
    severity: Severity = "medium"
    why: str = ""
    examples: Sequence[str] = ()
    run_id: str | None = None
    notice: bool = False
    from_here_on: bool = False


class Told(BaseModel):
    """That a channel was told of an incident: when last, and whether that it is over."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    over: bool = False


class Incident(BaseModel):
    """What went wrong once and goes on: told once, and once more when it is over.

    `partitions` are those that are bad now, `seen` all that were.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    kind: Kind
    use_case: str
    subject: str
    severity: Severity
    since: datetime
    partitions: list[str]
    seen: list[str]
    assets: frozenset[str]
    why: str
    examples: list[str]
    run_id: str | None
    notice: bool
    over_at: datetime | None = None
    told: dict[str, Told] = {}

    @property
    def is_open(self) -> bool:
        """Whether it still goes on."""
        return self.over_at is None and not self.notice

    def with_told(self, channel: str, now: datetime) -> Self:
        """The incident after a channel was told how it stands."""
        return self.model_copy(
            update={"told": {**self.told, channel: Told(at=now, over=self.over_at is not None or self.notice)}}
        )

    def is_about(self, finding: Finding) -> bool:
        """Whether a finding says how the incident stands."""
        if finding.notice or not self.is_open or (self.kind, self.use_case) != (finding.kind, finding.use_case):
            return False
        # a run ends the failure of an earlier one if it materialized all that failed there
        covered = finding.passed and bool(self.assets) and self.assets <= finding.assets
        return self.subject == finding.subject or (self.kind == "run_failed" and covered)


class Backoff(BaseModel):
    """How often in a row a channel has taken no message, and when it is tried again."""

    model_config = ConfigDict(frozen=True)

    failures: int
    again_at: datetime


class Book(BaseModel):
    """All that alerts have to remember, stored whole or not at all: incidents, and how far everything was read.

    `log` is the id of the Dagster instance's storage that was read; another one is read anew.
    """

    model_config = ConfigDict(frozen=True)

    log: str
    began: datetime
    read_to: int | None = None
    moves_read_to: dict[str, int] = {}
    heartbeats: dict[str, datetime] = {}
    backoff: dict[str, Backoff] = {}
    incidents: list[Incident] = Field(default_factory=list)

    @property
    def reads_from(self) -> datetime:
        """The moment from which the log is read the first time: what broke yesterday may be broken still."""
        return self.began - timedelta(days=1)

    def with_findings(self, findings: Iterable[Finding], now: datetime) -> Self:
        """The book after findings, in their order; what came and went between two looks is never told."""
        before = {one.id for one in self.incidents}
        incidents = list(self.incidents)
        for finding in findings:
            incidents = _after(incidents, finding, now)
        told = [one for one in incidents if one.is_open or one.notice or one.id in before]
        return self.model_copy(update={"incidents": told})

    def incident(self, incident_id: str) -> Incident:
        """An incident by its id."""
        return next(one for one in self.incidents if one.id == incident_id)

    def with_incident(self, incident: Incident) -> Self:
        """The book with another state of an incident."""
        changed = [incident if one.id == incident.id else one for one in self.incidents]
        return self.model_copy(update={"incidents": changed})


def _after(incidents: list[Incident], finding: Finding, now: datetime) -> list[Incident]:
    about = [one for one in incidents if one.is_about(finding)]
    if finding.notice or not (about or finding.passed):
        return [*incidents, _opened(finding, now)]
    if finding.passed:
        changed = {one.id: _without(one, finding, now) for one in about}
    else:
        changed = {one.id: _grown(one, finding) for one in about}
    return [changed.get(one.id, one) for one in incidents]


def _opened(finding: Finding, now: datetime) -> Incident:
    return Incident(
        id=uuid4().hex[:8],
        kind=finding.kind,
        use_case=finding.use_case,
        subject=finding.subject,
        severity=finding.severity,
        since=now,
        partitions=sorted(finding.partitions),
        seen=sorted(finding.partitions),
        assets=finding.assets,
        why=finding.why,
        examples=list(finding.examples),
        run_id=finding.run_id,
        notice=finding.notice,
    )


def _grown(incident: Incident, finding: Finding) -> Incident:
    return incident.model_copy(
        update={
            "partitions": sorted({*incident.partitions, *finding.partitions}),
            "seen": sorted({*incident.seen, *finding.partitions}),
            "assets": incident.assets | finding.assets,
            "why": finding.why,
            "examples": list(finding.examples),
            "run_id": finding.run_id or incident.run_id,
        }
    )


def _without(incident: Incident, finding: Finding, now: datetime) -> Incident:
    left = sorted({*incident.partitions} - {*finding.partitions})
    if finding.from_here_on:
        left = [key for key in left if key > max(finding.partitions)]
    over = {} if left else {"over_at": now, "run_id": finding.run_id or incident.run_id}
    return incident.model_copy(update={"partitions": left, **over})


def file_of(lake: Lake) -> UPath:
    """Where the book lies."""
    return UPath(lake.root, **lake.storage_options) / "alerts" / "incidents.json"


def load(lake: Lake) -> Book | None:
    """The book of a lake, None before the first."""
    try:
        return Book.model_validate_json(file_of(lake).read_bytes())
    except FileNotFoundError:
        return None


def save(lake: Lake, book: Book) -> None:
    """Store the book whole, or not at all."""
    file = file_of(lake)
    file.parent.mkdir(parents=True, exist_ok=True)
    put(file, book.model_dump_json().encode())


def open_incidents(lake: Lake, use_case: str | None = None) -> list[Incident]:
    """The incidents that go on, the oldest first: all, or those that concern a use case."""
    book = load(lake)
    found = [one for one in book.incidents if one.is_open] if book else []
    return [one for one in found if use_case is None or one.use_case in ("", use_case)]


def moment() -> datetime:
    """Now, in UTC, by the clock that Dagster's sensors go by."""
    return get_current_datetime()
