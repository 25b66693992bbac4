"""Telling the channels of incidents: each once, again while one goes on, and until one that fails takes it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from ml_platform.alerts.incidents import Backoff, Book, Incident
from ml_platform.alerts.messages import line, message
from ml_platform.alerts.project import Project
from ml_platform.resources.alerting import Alerts
from ml_platform.use_case import CONSOLE, SEVERITIES

REMINDED_AFTER = timedelta(days=1)
GIVEN_UP_AFTER = timedelta(days=7)
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=1)
SECONDS_AT_ONCE = 20  # Dagster ends a tick of a sensor after a minute


@dataclass
class Delivery:
    """One round of telling: `show` is the console, `keep` stores the book after each message."""

    project: Project
    alerts: Alerts
    show: Callable[[str], None]
    keep: Callable[[Book], None]
    now: datetime

    def deliver(self, book: Book) -> Book:
        """The book after everybody was told what they had not been told; the worst first."""
        end = monotonic() + SECONDS_AT_ONCE
        for incident in sorted(book.incidents, key=lambda one: -SEVERITIES.index(one.severity)):
            notes, targets = list[str](), self._targets(incident)
            for variable, channel in targets.items():
                if variable != CONSOLE and monotonic() < end and _is_due(incident, variable, self.now):
                    book, note = self._send(book, incident.id, channel, variable)
                    notes += [note] if note else []
            one = book.incident(incident.id)
            if (notes or CONSOLE in targets) and _is_due(one, CONSOLE, self.now):
                self.show(" ".join([line(one, CONSOLE), *(f"({note})" for note in notes)]))
                book = book.with_incident(one.with_told(CONSOLE, self.now))
                self.keep(book)
        left = [one for one in book.incidents if not self._is_done(one)]
        return book.model_copy(update={"incidents": left})

    def _send(self, book: Book, incident_id: str, channel: str, variable: str) -> tuple[Book, str | None]:
        """Send to one channel, unless it is waited for; why it was not told now."""
        if not self.alerts.has(variable):
            return book, f"for {channel}, but {variable} is not set"
        backoff = book.backoff.get(variable)
        if backoff and self.now < backoff.again_at:
            return book, f"for {channel}, which is tried again at {backoff.again_at:%H:%M:%S} UTC"
        incident = book.incident(incident_id)
        problem = self.alerts.send(variable, message(incident, variable, self.alerts))
        if problem is None:
            waiting = {name: one for name, one in book.backoff.items() if name != variable}
            book = book.with_incident(incident.with_told(variable, self.now)).model_copy(update={"backoff": waiting})
        else:
            failures = backoff.failures + 1 if backoff else 1
            again_at = self.now + min(FIRST_WAIT * 2 ** min(failures - 1, 10), LONGEST_WAIT)
            waiting = {**book.backoff, variable: Backoff(failures=failures, again_at=again_at)}
            book = book.model_copy(update={"backoff": waiting})
            again = f"tried again at {again_at:%H:%M:%S} UTC"
            self.show(f"{channel} ({variable}) did not take a message: {problem}; {again}.")
        self.keep(book)
        return book, None if problem is None else f"for {channel}"

    def _targets(self, incident: Incident) -> dict[str, str]:
        """Whom an incident is told to: the variables of channels, or the console, each with the channel's name.

        One that concerns the whole project is told to the channels of each use case.
        """
        concerned = [self.project.about(one) for one in self.project.use_cases if incident.use_case in ("", one)]
        return {
            about.channels.get(name, CONSOLE): name
            for about in concerned
            for name in about.told(incident.kind, incident.severity)
        } or {CONSOLE: CONSOLE}

    def _is_done(self, incident: Incident) -> bool:
        """Whether nobody waits to be told that it is over, or too long."""
        if incident.is_open:
            return False
        wanted = [one for one in self._targets(incident) if one == CONSOLE or self.alerts.has(one)] or [CONSOLE]
        is_told = all(one in incident.told and incident.told[one].over for one in wanted)
        return is_told or self.now - (incident.over_at or incident.since) > GIVEN_UP_AFTER


def _is_due(incident: Incident, channel: str, now: datetime) -> bool:
    last = incident.told.get(channel)
    if last is None:
        return True
    return now - last.at >= REMINDED_AFTER if incident.is_open else not last.over
