"""The command `ml-platform run`: a use case from raw data to champion and predictions, or one of its stages."""

from collections.abc import Sequence
from typing import Annotated

import dagster as dg
import typer

from ml_platform.cli.errors import told
from ml_platform.cli.execution import run_stages
from ml_platform.cli.outcome import Outcome
from ml_platform.cli.progress import shown_progress
from ml_platform.cli.project import Project, check_stage, open_project
from ml_platform.cli.summary import print_json, print_summary
from ml_platform.cli.warm_up import warm_up
from ml_platform.errors import UserError
from ml_platform.partitions import KEY_FORMAT
from ml_platform.stages import ledger
from ml_platform.use_case import STAGES, Stage
from ml_platform.use_case.words import DATA, MODEL, PREDICTIONS


def run(
    name: Annotated[str, typer.Argument(help="The use case.")],
    first: Annotated[
        str | None, typer.Option("--from", help="The first partition; by default the first there is.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="The last partition; by default the last there is.")] = None,
    stage: Annotated[list[str] | None, typer.Option(help="Only this stage; may be given several times.")] = None,
    backtest: Annotated[bool, typer.Option(help="Train at every cutoff between, not only at the last.")] = False,
    force: Annotated[bool, typer.Option(help="Compute again what has not changed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Run a use case: raw data, validated data, features, model, evaluation, promotion, predictions, monitoring."""
    with told():
        project = open_project()
        project.check_use_case(name)
        chosen = [check_stage(one) for one in stage or STAGES]
        succeeded, outcome = run_use_case(
            project, name, first, last, stages=chosen, backtest=backtest, force=force, quiet=as_json
        )
        (print_json if as_json else print_summary)(name, outcome)
    raise typer.Exit(0 if succeeded else 1)


def run_use_case(
    project: Project,
    name: str,
    first: str | None,
    last: str | None,
    *,
    stages: Sequence[Stage] = STAGES,
    backtest: bool = False,
    force: bool = False,
    quiet: bool = False,
) -> tuple[bool, Outcome]:
    """Run a use case's stages over the partitions from first to last; whether all went well, and what was done.

    Raises:
        UserError: a date is no partition, or no model can be trained between them.
    """
    data = project.partitions(dg.AssetKey([name, "raw_data"]))
    days = _between(data, first, last)
    cutoffs = _cutoffs(project.partitions(dg.AssetKey([name, "model"])), data, days, backtest=backtest)
    outcome, succeeded = Outcome(), True
    warm = set(DATA).issuperset(stages)
    groups: list[tuple[Sequence[Stage], list[str] | None]] = [(DATA, days), (MODEL, cutoffs), (PREDICTIONS, days)]
    with shown_progress(quiet=quiet) as progress:
        for group, partitions in groups:
            selected = [stage for stage in group if stage in stages]
            if not selected:
                continue
            if partitions == []:
                if set(MODEL).issuperset(stages):
                    raise UserError(f"no model's windows lie whole before {last}; give a later --to.")
                continue
            progress.expect(selected, len(partitions) if partitions else 1)

            def listen(entry: dg.EventLogEntry) -> None:
                nonlocal warm
                outcome.listen(entry)
                progress.listen(entry)
                if not warm and outcome.has_changed:  # new data: models will be trained and scored
                    warm = True
                    warm_up()

            succeeded &= run_stages(project, name, selected, partitions, listen, force=force)
            if not succeeded and partitions is None:
                break  # what comes after would be made of the data that was there before
    if {"promotion", "predictions"} & outcome.stages.keys():
        work = project.work(name)
        try:  # an alias that was moved by hand is noticed, though promotion has nothing to decide
            outcome.move = (ledger.settled(work).book if succeeded else ledger.read(work)).last
        except ledger.LedgerError as error:
            outcome.errors.append(str(error))
            succeeded = False
    return succeeded, outcome


def _between(
    definition: dg.TimeWindowPartitionsDefinition | None, first: str | None, last: str | None
) -> list[str] | None:
    if definition is None:
        if first or last:
            raise UserError("this use case has no partitions; leave out --from and --to.")
        return None
    keys = list(definition.get_partition_keys())
    for option, key in (("--from", first), ("--to", last)):
        if key is not None and key not in keys:
            raise UserError(f"{option} {key} is no partition; partitions go from {keys[0]} to {keys[-1]}.")
    chosen = [key for key in keys if (first or keys[0]) <= key <= (last or keys[-1])]
    if not chosen:
        raise UserError(f"--from {first} lies after --to {last}; exchange them.")
    return chosen


def _cutoffs(
    definition: dg.TimeWindowPartitionsDefinition | None,
    data: dg.TimeWindowPartitionsDefinition | None,
    days: list[str] | None,
    *,
    backtest: bool,
) -> list[str] | None:
    """The cutoffs up to the end of the last partition of data: all, or the last."""
    if definition is None or data is None or days is None:
        return None
    end = f"{data.time_window_for_partition_key(days[-1]).end:{KEY_FORMAT}}"
    reached = [key for key in definition.get_partition_keys() if days[0] <= key <= end]
    return reached if backtest else reached[-1:]
