"""The files of a use case, written from templates."""

from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined


def rendered(template: str, values: dict[str, Any]) -> str:
    """A file's text from a template that lies beside this module."""
    environment = Environment(  # noqa: S701 - what is written is YAML and Python, with quotes of their own
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters |= {"yaml": _inline, "comment": _comment}
    return environment.get_template(template).render(values)


def _inline(value: object) -> str:
    """A value as YAML in one line."""
    written = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=float("inf"), allow_unicode=True)
    return str(written).removesuffix("...\n").strip()


def _comment(text: str) -> str:
    return " ".join(str(text).split())
