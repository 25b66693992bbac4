"""Dagster's UI, as links lead to it."""

WEBSERVER = "http://127.0.0.1:3000"


def run_page(webserver: str, run_id: str) -> str:
    """The address of the page about a run, given that of the UI."""
    return f"{webserver.rstrip('/')}/runs/{run_id}"
