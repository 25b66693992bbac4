"""The block about alerts: which channels are told what, by how bad it is, and when something is late."""

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ml_platform.blocks import Block, Duration, refuse
from ml_platform.references import did_you_mean
from ml_platform.use_case.words import Severity

Kind = Literal[
    "run_failed",
    "check_failed",
    "check_missing",
    "partition_late",
    "tick_failed",
    "drift",
    "champion_changed",
    "run_succeeded",
    "heartbeat",
]
SEVERITY_OF: dict[Kind, Severity] = {
    "run_failed": "high",
    "check_failed": "medium",
    "check_missing": "medium",
    "partition_late": "high",
    "tick_failed": "high",
    "drift": "medium",
    "champion_changed": "low",
    "run_succeeded": "low",
    "heartbeat": "low",
}
CONSOLE = "console"
ENVIRONMENT_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
EVERY_MORNING = "0 8 * * *"
ONCE_A_DAY = re.compile(r"[0-5]?\d ([01]?\d|2[0-3]) \* \* (\*|[0-7]|1-5)")


def _check_heartbeat(value: object) -> object:
    if isinstance(value, bool) or value is None:
        return EVERY_MORNING if value else None
    if isinstance(value, str) and ONCE_A_DAY.fullmatch(value):
        return value
    raise ValueError(
        f"{value!r} is no moment of the day; write true, or minute, hour and weekdays as cron does: '0 8 * * 1-5'."
    )


class Alerting(Block):
    """Who is told when something goes wrong, and what else; without this block the console is."""

    channels: dict[str, str] = Field(
        default_factory=dict,
        description="Names of channels, each with the name of the environment variable that holds its address, such as "
        "`RISK_ALERTS`; the address itself is a secret and stands in no file.",
    )
    routes: dict[Severity, list[str]] = Field(
        default_factory=dict,
        description="Which channels are told, by severity (`low`, `medium`, `high`, `critical`); by default `low` goes "
        "to the `console` and the rest to every channel.",
    )
    severities: dict[Kind, Severity] = Field(
        default_factory=dict,
        description="How bad a kind of thing is, where it is not as usual, such as `{drift: high}`.",
    )
    late_after: Duration = Field(
        default=timedelta(days=1),
        description="How long after its end a partition of features may be missing before that is told.",
    )
    on_success: bool = Field(default=False, description="Whether a run that succeeds is told too.")
    heartbeat: Annotated[str | bool | None, BeforeValidator(_check_heartbeat)] = Field(
        default=None,
        description=f"When every channel is told that alerts work, so that silence means something: `true` for "
        f"`{EVERY_MORNING}`, in UTC, or another moment of the day as cron writes it; by default never.",
    )

    @field_validator("channels")
    @classmethod
    def _check_variables(cls, channels: dict[str, str]) -> dict[str, str]:
        for name, variable in channels.items():
            if not ENVIRONMENT_VARIABLE.fullmatch(variable):  # perhaps an address: it is not repeated
                message = (
                    "this is no name of an environment variable; put the address into one and write its name here."
                )
                refuse("Alerting", [name], message, None)
            if name == CONSOLE:
                refuse("Alerting", [name], f"'{CONSOLE}' is always there; choose another name.", name)
        return channels

    @model_validator(mode="after")
    def _check_routes(self) -> Self:
        known = [CONSOLE, *self.channels]
        for severity, names in self.routes.items():
            for index, name in enumerate(names):
                if name not in known:
                    message = f"there is no channel '{name}'; {did_you_mean(name, known)}"
                    refuse("Alerting", ["routes", severity, index], message, name)
        return self

    def severity(self, kind: Kind) -> Severity:
        """How bad a kind of thing is."""
        return self.severities.get(kind, SEVERITY_OF[kind])

    def told(self, kind: Kind, severity: Severity) -> list[str]:
        """The channels that are told of something; a heartbeat goes to all, for it is them that it proves."""
        every = [*self.channels] or [CONSOLE]
        if kind == "heartbeat":
            return every
        return self.routes.get(severity, [CONSOLE] if severity == "low" else every)
