"""The command `ml-platform`: one module a command, all on the same assets, gates and event log as the UI."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS = (
    *("demo", "init", "run", "status", "alerts", "why", "accept"),
    *("promote", "rollback", "history", "compare", "trace", "reproduce"),
    *("dev", "metrics", "evidence", "diagram", "reference"),
)


class Commands(TyperGroup):
    """The commands by the names of their modules, imported when they are asked for: each needs little of the rest."""

    def list_commands(self, _: Any) -> list[str]:
        """The names of the commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by its name, or None; then all are imported, so that what was meant can be suggested."""
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
                alone.command(name)(getattr(import_module(f"{__name__}.{name}"), name))
                self.add_command(typer.main.get_command(alone))
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    name="ml-platform",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """Run use cases and see how they stand."""
