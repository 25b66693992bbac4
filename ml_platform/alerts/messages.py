"""What is said of an incident: a line for the console, a message for a channel."""

from ml_platform.alerts.incidents import WHOLE, Incident
from ml_platform.partitions import span
from ml_platform.resources.alerting import Alerts, Message, Tone
from ml_platform.use_case import Kind

WORDS: dict[Kind, str] = {
    "run_failed": "the run of {} failed",
    "check_failed": "the check {} failed",
    "check_missing": "the check {} gave no verdict",
    "partition_late": "{} is late",
    "tick_failed": "the tick of {} failed",
    "drift": "drift: the check {} failed",
    "champion_changed": "{} is champion",
    "run_succeeded": "the run of {} succeeded",
    "heartbeat": "heartbeat of {}",
}
GOOD: tuple[Kind, ...] = ("run_succeeded", "champion_changed", "heartbeat")


def headline(incident: Incident, channel: str | None = None) -> str:
    """How bad it is, what it is about, and whether a channel was told before: a line without the reason."""
    where = f"{incident.use_case}: " if incident.use_case else ""
    state = "resolved" if incident.over_at else incident.severity
    again = ", still" if incident.is_open and channel in incident.told else ""
    named = shown(incident.partitions if incident.is_open else incident.seen)
    return f"[{state}{again}] {where}{what(incident)}{f', {named}' if named else ''}"


def what(incident: Incident) -> str:
    """What happened."""
    return WORDS[incident.kind].format(incident.subject)


def shown(partitions: list[str]) -> str:
    """Partitions by the first, the last and their number; nothing for what has none."""
    named = [one for one in partitions if one != WHOLE]
    return span(named) if named else ""


def line(incident: Incident, channel: str) -> str:
    """The incident on the console."""
    head = headline(incident, channel)
    return head if incident.over_at else f"{head}: {incident.why}"


def message(incident: Incident, channel: str, alerts: Alerts) -> Message:
    """The incident for a channel."""
    since = f"{incident.since:%Y-%m-%d %H:%M} UTC"
    over = f" to {incident.over_at:%Y-%m-%d %H:%M} UTC" if incident.over_at else ""
    lines = [incident.why, *(f"- {one}" for one in incident.examples)]
    lines += [f"Since {since}{over}."] if not incident.notice else []
    lines += [alerts.run_link(incident.run_id)] if incident.run_id else []
    lines += [f"Incident {incident.id}"]
    return Message(incident.id, headline(incident, channel), "\n".join(lines), _tone(incident))


def _tone(incident: Incident) -> Tone:
    if incident.over_at:
        return "success"
    if incident.kind in GOOD:
        return "info"
    return "warning" if incident.severity in ("low", "medium") else "failure"
