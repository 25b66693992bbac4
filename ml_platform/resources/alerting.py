"""The resource `Alerts`: sends a message to an address that an environment variable holds, and tells nobody else."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import dagster as dg

from ml_platform.resources.dagster_ui import WEBSERVER, run_page

Tone = Literal["info", "success", "warning", "failure"]
STATUS = re.compile(r"error=(\d{3})\b")
TALKATIVE = ("apprise", "urllib3")


@dataclass(frozen=True)
class Message:
    """What a channel is sent: a line, the rest, and whether it is good or bad news.

    All that is said of one thing has the same key.
    """

    key: str
    title: str
    body: str
    tone: Tone


class Alerts(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Channels of alerts, each known by the name of the environment variable that holds its address.

    `webserver` is the address of Dagster's UI, for links.
    """

    webserver: str = WEBSERVER

    def run_link(self, run_id: str) -> str:
        """The page of a run."""
        return run_page(self.webserver, run_id)

    def has(self, variable: str) -> bool:
        """Whether there is an address in the environment."""
        return bool(os.environ.get(variable))

    def send(self, variable: str, message: Message) -> str | None:
        """Send a message; why it was not taken, in words that hold nothing of the address."""
        try:
            import apprise
        except ImportError:
            return "apprise is not installed; pip install 'ml-platform[alerts]'"
        with _overheard() as heard:
            try:
                # in memory: nothing of the address is cached on disk
                asset = apprise.AppriseAsset(app_id="ml_platform", app_desc="ml_platform", storage_mode="memory")
                server = apprise.Apprise(asset=asset)
                if not server.add(os.environ[variable]):
                    return f"{variable} holds no address that apprise takes, such as slack://... or mailto://..."
                for one in server:
                    if hasattr(one, "dedup"):  # PagerDuty: so that what is over ends what was opened
                        one.dedup = message.key
                if server.notify(
                    title=message.title,
                    body=message.body,
                    notify_type=message.tone,
                    body_format=apprise.NotifyFormat.TEXT,
                ):
                    return None
            except Exception as error:  # of a library whose errors may quote the address
                return f"it failed with a {type(error).__name__}"
        return heard.said()


class _Ear(logging.Handler):
    """Takes in what is logged, of which only the status of a refusal is told."""

    def __init__(self) -> None:
        super().__init__()
        self._statuses: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the status."""
        self._statuses += STATUS.findall(record.getMessage())

    def said(self) -> str:
        """Why a message was not taken."""
        return f"it answered HTTP {self._statuses[-1]}" if self._statuses else "it cannot be reached, or refuses"


@contextmanager
def _overheard() -> Iterator[_Ear]:
    """A block in which nothing gets out of what libraries log, for that may hold an address."""
    ear, loggers = _Ear(), [logging.getLogger(name) for name in TALKATIVE]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [ear], False
    try:
        yield ear
    finally:
        for logger, (handlers, propagates) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagates
