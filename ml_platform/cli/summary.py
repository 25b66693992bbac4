"""The summary of a run that a person can read, and the same as JSON."""

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_platform.cli.outcome import Check, Outcome
from ml_platform.partitions import span
from ml_platform.stages.book import Entry
from ml_platform.use_case import METRICS, STAGES

SHOWN_REFUSALS = 8


def print_json(name: str, outcome: Outcome) -> None:
    """Print the outcome as one JSON document."""
    document = {
        "use_case": name,
        "runs": outcome.runs,
        "errors": outcome.errors,
        "champion": outcome.move.version if outcome.move else None,
        # not asdict, which makes a Counter of a Counter's items
        "stages": {stage: vars(outcome.stages[stage]) for stage in STAGES if stage in outcome.stages},
        "checks": [asdict(check) for check in outcome.checks],
    }
    Console(soft_wrap=True).print_json(json.dumps(document))


def print_summary(name: str, outcome: Outcome) -> None:
    """Print stages, metrics, gates, champion and quarantine as tables."""
    console = Console()
    console.print(_stages(name, outcome))
    if "evaluation" in outcome.stages and outcome.of("evaluation").latest:
        console.print(_metrics(outcome.of("evaluation").latest))
    gates = [check for check in outcome.checks if check.stage == "promotion" and check.name != "evaluated"]
    for gate in gates:
        console.print(_verdict(gate))
    if "promotion" in outcome.stages and (decision := outcome.of("promotion").latest):
        console.print(f"[bold]champion[/]  {escape(_champion(decision, outcome.move))}")
    if "quarantine" in outcome.stages:
        rules = ", ".join(f"{rule} ({count})" for rule, count in outcome.of("quarantine").broken_rules.most_common())
        console.print(f"[bold]quarantine[/]  {outcome.of('quarantine').rows:,} rows" + (f": {rules}" if rules else ""))
    if "monitoring" in outcome.stages and (found := outcome.of("monitoring").latest):
        console.print(f"[bold]monitoring[/]  {_monitored(found)}")
    # what has drifted is a line of its own, and said partition by partition in the UI
    told = [*gates, *(one for one in outcome.checks if one.stage == "monitoring" and one.name != "monitored")]
    refusals = _refusals(check for check in outcome.checks if not check.passed and check not in told)
    for refusal in refusals[:SHOWN_REFUSALS]:
        console.print(refusal)
    if len(refusals) > SHOWN_REFUSALS:
        console.print(f"  and {len(refusals) - SHOWN_REFUSALS} more reasons; --json lists them all.")
    for error in outcome.errors:
        console.print(f"[red]✗[/] a run of {name} failed: {escape(error)}")


def _champion(decision: dict[str, Any], move: Entry | None) -> str:
    """What was decided, or what has become of the champion since."""
    now = move.version if move else None
    if decision["champion"] != (now or "none"):
        said = f"version {now} is champion" if now else "there is none"
        return f"{said}, {move.event.replace('_', ' ')} by {move.by}: {move.why}" if move else said
    said = "is champion now" if decision["promoted"] else "stays champion"
    if not decision["promoted"] and now != decision["version"]:
        said = f"is not promoted, {f'champion stays version {now}' if now else 'there is no champion yet'}"
    return f"version {decision['version']} {said}: {decision['reason']}"


def _stages(name: str, outcome: Outcome) -> Table:
    table = Table("stage", "partitions", "unchanged", "rows", "seconds", title=name, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for stage in STAGES:
        if stage in outcome.stages:
            one = outcome.stages[stage]
            seconds = f"{one.seconds:.1f}" if one.seconds else ""
            counts = (f"{count:,}" if count else "" for count in (one.partitions, one.unchanged, one.rows))
            table.add_row(stage, *counts, seconds)
    return table


def _metrics(latest: dict[str, Any]) -> Table:
    baselines = latest["baselines"]
    table = Table(
        "metric",
        "model",
        "95 % interval",
        *baselines,
        title=f"hold-out {latest['hold_out']}, {latest['hold_out_rows']:,} rows",
    )
    known = dict.fromkeys(metric for metrics in METRICS.values() for metric in metrics)
    for metric in known:  # in their order: stored metadata has none
        if metric not in latest["intervals"]:
            continue
        low, high = latest["intervals"][metric]
        others = (f"{baselines[name][metric]:.4f}" if metric in baselines[name] else "-" for name in baselines)
        table.add_row(metric, f"{latest[metric]:.4f}", f"{low:.4f} - {high:.4f}", *others)
    return table


def _monitored(latest: dict[str, Any]) -> str:
    drifting, where = latest["drifting_features"], f" on {latest['partition']}" if latest["partition"] else ""
    features = "no feature has" if drifting == 0 else "1 feature has" if drifting == 1 else f"{drifting} features have"
    waiting = f", {latest['not_judged']} numbers cannot be judged yet" if latest["not_judged"] else ""
    return escape(f"{features} drifted{where}{waiting}. {latest['retraining']['why']}")


def _refusals(failed: Iterable[Check]) -> list[str]:
    """One line for each reason, with the partitions that it refused."""
    partitions: dict[Check, list[str]] = {}
    for check in failed:
        partitions.setdefault(replace(check, partition=None), []).append(check.partition or "")
    return [_verdict(replace(check, partition=span(keys))) for check, keys in partitions.items()]


def _verdict(check: Check) -> str:
    mark = "[green]✓[/]" if check.passed else "[red]✗[/]"
    where = f" {check.partition}" if check.partition else ""
    return f"{mark} {check.stage}{where} {check.name}" + (f": {escape(check.reason)}" if check.reason else "")
