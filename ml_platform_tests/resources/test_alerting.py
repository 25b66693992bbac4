"""Messages arrive at real servers, in the words of each kind of channel, and a refusal is said without the address."""

import re
import sys
from pathlib import Path

import pytest

from ml_platform.resources.alerting import Alerts, Message
from ml_platform_tests.alerts.receivers import http_server, smtp_server

DOCS = Path(__file__).parents[2] / "docs" / "alerts.md"
MESSAGE = Message("a1b2c3d4", "[high] payments: the run failed", "no such thing\n- amount min: -3", "failure")
RESOLVED = Message("a1b2c3d4", "[resolved] payments: the run failed", "no such thing", "success")


def sent(monkeypatch: pytest.MonkeyPatch, address: str, *messages: Message) -> list[str | None]:
    monkeypatch.setenv("RISK_ALERTS", address)
    return [Alerts().send("RISK_ALERTS", message) for message in messages]


def test_a_webhook_is_posted_json(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_server() as inbox:
        assert sent(monkeypatch, f"json://127.0.0.1:{inbox.port}", MESSAGE) == [None]
        (got,) = inbox.messages
        assert (got["title"], got["message"], got["type"]) == (MESSAGE.title, MESSAGE.body, "failure")


def test_mail_is_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    with smtp_server() as inbox:
        address = f"mailto://127.0.0.1:{inbox.port}?from=platform@example.org&to=risk@example.org"
        assert sent(monkeypatch, address, MESSAGE) == [None]
        (got,) = inbox.messages
        assert f"Subject: {MESSAGE.title}" in got["mail"]
        assert "To: risk@example.org" in got["mail"]
        assert MESSAGE.body in got["mail"]


def test_slack_is_posted_to(monkeypatch: pytest.MonkeyPatch) -> None:
    from apprise.plugins.slack import NotifySlack

    with http_server(answer=b"ok") as inbox:
        monkeypatch.setattr(NotifySlack, "webhook_url", f"http://127.0.0.1:{inbox.port}")
        assert sent(monkeypatch, "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", MESSAGE) == [None]
        assert MESSAGE.title in str(inbox.messages)


def test_pagerduty_resolves_what_it_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    from apprise.plugins import pagerduty

    with http_server() as inbox:
        here = dict.fromkeys(pagerduty.PAGERDUTY_API_LOOKUP, f"http://127.0.0.1:{inbox.port}")
        monkeypatch.setattr(pagerduty, "PAGERDUTY_API_LOOKUP", here)
        assert sent(monkeypatch, "pagerduty://integration@apikey?action=map", MESSAGE, RESOLVED) == [None, None]
        assert [(one["event_action"], one["dedup_key"]) for one in inbox.messages] == [
            ("trigger", MESSAGE.key),
            ("resolve", MESSAGE.key),
        ]


@pytest.mark.parametrize("status", [403, 500])
def test_a_refusal_is_said_with_its_status(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    with http_server() as inbox:
        inbox.status = status
        with caplog.at_level("DEBUG"):
            assert sent(monkeypatch, f"json://127.0.0.1:{inbox.port}/t0ken", MESSAGE) == [f"it answered HTTP {status}"]
        assert "t0ken" not in caplog.text


def test_what_cannot_be_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_server() as inbox:
        gone = inbox.port
    assert sent(monkeypatch, f"json://127.0.0.1:{gone}", MESSAGE) == ["it cannot be reached, or refuses"]


def test_an_address_of_no_known_kind_is_said_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    (said,) = sent(monkeypatch, "t0ken", MESSAGE)
    assert said == "RISK_ALERTS holds no address that apprise takes, such as slack://... or mailto://..."


def test_without_apprise_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    said = sent(monkeypatch, "json://127.0.0.1", MESSAGE)
    assert said == ["apprise is not installed; pip install 'ml-platform[alerts]'"]


def test_every_address_of_the_documentation_is_taken() -> None:
    import apprise

    addresses = re.findall(r"\| `(\w+://[^`]+)` \|", DOCS.read_text(encoding="utf-8"))
    assert len(addresses) >= 5
    assert [one for one in addresses if not apprise.Apprise().add(one)] == []
