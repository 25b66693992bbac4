"""How moves of the champion are shown."""

import json
from dataclasses import asdict
from typing import Any

import typer

from ml_platform.stages.ledger import Entry


def print_entry(entry: Entry, *, as_json: bool) -> None:
    """Print a move that was made."""
    before = f", after version {entry.from_version}" if entry.from_version else ""
    held = f", until {entry.until} whatever comes" if entry.until else ""
    typer.echo(json.dumps(shown(entry)) if as_json else f"Version {entry.version} is champion now{before}{held}.")


def shown(entry: Entry) -> dict[str, Any]:
    """An entry as JSON can hold it."""
    document = {
        name: str(value) if name in {"at", "until"} and value else value for name, value in asdict(entry).items()
    }
    return {**document, "gates": json.loads(entry.gates)}
