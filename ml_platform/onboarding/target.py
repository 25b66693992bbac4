"""What `--target` says: a column, or a comparison of a column with a number."""

import re
from dataclasses import dataclass

from ml_platform.errors import UserError
from ml_platform.references import did_you_mean

COMPARISON = re.compile(r"(.+?)\s*(>=|<=|>|<|==|!=)\s*(\S+)")


@dataclass(frozen=True)
class Target:
    """The column to be predicted; with `operator` and `number`: whether its value compares like that."""

    column: str
    operator: str | None = None
    number: float | None = None

    def __str__(self) -> str:
        """As a person writes it."""
        return f"{self.column} {self.operator} {self.number:g}" if self.operator else self.column


def parse_target(text: str, columns: list[str]) -> Target:
    """The target that a text names.

    Raises:
        UserError: there is no such column, or it is compared with something else than a number.
    """
    if text in columns:
        return Target(text)
    name, operator, number = found.groups() if (found := COMPARISON.fullmatch(text.strip())) else (text, None, None)
    if name not in columns:
        raise UserError(f"--target {text}: the data has no column '{name}'; {did_you_mean(name, columns)}")
    try:
        return Target(name, operator, None if number is None else float(number))
    except ValueError:
        raise UserError(f"--target {text}: '{number}' is no number; write it like '{name} {operator} 30'.") from None
