"""A use case drafted from data: every decision with its reason, and what is dangerous."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
import yaml

from ml_platform.errors import UserError
from ml_platform.ml.contract import PARTITION, coerce, partition_of, split
from ml_platform.onboarding import dangers, oddities
from ml_platform.onboarding.code_files import built, features_code, numbered_rows
from ml_platform.onboarding.dangers import Danger
from ml_platform.onboarding.data import Data, typed_data, with_time
from ml_platform.onboarding.keys import choose_key, key_of, likely_times, repeating_ids
from ml_platform.onboarding.plan import Choices, Plan, Timing, margin_of
from ml_platform.onboarding.profile import Profile, profile_of
from ml_platform.onboarding.rules import column_rules, is_rare, isolated
from ml_platform.onboarding.schedule import Schedule, choose_schedule
from ml_platform.onboarding.target import parse_target
from ml_platform.onboarding.tasks import labelling_of
from ml_platform.onboarding.templates import rendered
from ml_platform.use_case import FilesSource, SqlSource, UseCase


@dataclass(frozen=True)
class Draft:
    """A use case drafted from data: its files by name, what is said of each column, and the dangers found."""

    headline: str
    files: dict[str, str]
    use_case: UseCase
    profiles: list[Profile]
    roles: dict[str, str]
    decisions: list[tuple[str, str]]
    dangers: list[Danger]


def draft(source: FilesSource | SqlSource, raw: pl.DataFrame, choices: Choices, headline: str) -> Draft:
    """The use case of a source whose rows are `raw`.

    Raises:
        UserError: the data or a choice does not make one; the sentence says what to do.
    """
    data = typed_data(raw, choices)
    target = parse_target(choices.target, raw.columns)
    if target.column not in data.found:
        raise UserError(f"{target.column} {data.not_read[target.column]}; there is nothing to predict.")
    labelling = labelling_of(target, data.found[target.column], data.typed[target.column])
    timing = _timing(data, choices, target.column, daily_files="{partition}" in getattr(source, "path", ""))
    data = with_time(data, timing.column)
    others = [target.column, *([choices.entity] if choices.entity else [])]
    key = key_of(data.typed, choices.key) if choices.key else choose_key(data.typed, data.found, others, timing.column)
    files, source_block = {}, source.model_dump(exclude_defaults=True)
    if not key.columns:
        files["rows.py"], source_block, data, key = numbered_rows(source, data, choices.name, timing, key)
    code = features_code(choices.name, target, labelling, data)
    files |= {"features.py": code} if code else {}
    rows = built(code, data.typed)
    ids = repeating_ids(data.typed, data.found, [*key.columns, target.column])
    plan = Plan(
        choices,
        target,
        labelling,
        timing,
        key,
        source_block,
        bool(code),
        ids,
        margin_of(labelling.task, rows[target.column]),
        headline,
    )
    contract = _contract(data, plan, data.found)
    left_out = _features(data, plan)
    found = list(_dangers(data, rows, plan, contract, [name for name, why in left_out.items() if why is None]))
    left_out |= {one.column: one.evidence for one in found if one.leaves_out}
    if all(left_out.values()):
        raise UserError("no column is left to learn from: all are keys, identifiers or give the target away.")
    contract = _contract(data, plan, {name for name, why in left_out.items() if why})
    share = _quarantined(data, plan, contract)
    files["defs.yaml"] = rendered("defs.yaml.j2", plan.values(contract, left_out, data.not_read, share))
    return Draft(
        headline,
        files,
        UseCase.model_validate(yaml.safe_load(files["defs.yaml"])["attributes"]),
        [profile_of(one, data.typed[name]) for name, one in data.found.items()],
        _roles(plan, left_out),
        plan.decisions(share),
        found,
    )


def _timing(data: Data, choices: Choices, target: str, *, daily_files: bool) -> Timing:
    """By which column and in which partitions the data is cut, or why it is not."""
    columns = [choices.time] if choices.time else likely_times(data.typed, data.found, target)
    if not columns and choices.every:
        raise UserError(f"--every {choices.every}: no column says when a row happened; name it with --time.")
    if not columns:
        return Timing(None, None, "no column says when a row happened: rows are held out by their key")
    if choices.time and (choices.time not in data.found or data.found[choices.time].type not in {"datetime", "date"}):
        raise UserError(f"--time {choices.time}: its values are no dates; name another one, or leave --time out.")
    if not choices.by_time:
        return Timing(None, None, "as asked for, rows are not cut by time but held out by their key", columns[0])
    reasons = []
    for column in columns:
        moments = data.typed[column].cast(pl.Datetime("us"))
        schedule = choose_schedule(moments, choices.every, daily_files=daily_files)
        if isinstance(schedule, Schedule):
            likeliest = f"the likeliest of {', '.join(columns)}" if columns[1:] else "the likeliest column"
            chosen = "as given" if choices.time else f"{likeliest}; another one with --time, none with --every none"
            return Timing(column, schedule, chosen)
        reasons.append(f"{column} cannot cut the rows: {schedule}")
    if choices.every:
        raise UserError(f"--every {choices.every}: {reasons[0]}; choose another one, or --every none.")
    return Timing(None, None, f"{reasons[0]}; they are held out by their key", columns[0])


def _contract(data: Data, plan: Plan, unused: Container[str]) -> dict[str, dict[str, Any]]:
    """The rules of the contract's columns; of those that are not used, only the type."""
    needed = {*plan.key.columns, plan.timing.column}
    task = plan.labelling.task
    return {
        name: column_rules(
            one,
            data.typed[name],
            needed=name in needed,
            is_class=name == plan.target.column and task != "regression" and not plan.target.operator,
            is_free=name in unused,
            excluded=[far for far in isolated(data.typed[name]) if is_rare(far, data.typed.height)],
        )
        for name, one in data.found.items()
    }


def _features(data: Data, plan: Plan) -> dict[str, str | None]:
    """The columns that could be features, with why they are none from the start."""
    single = plan.key.columns[0] if len(plan.key.columns) == 1 else None
    reasons = {
        plan.choices.entity: "the entity",
        single: "the key",
        plan.timing.column: "the event time; its weekday, month and so on are learned if you bring it back",
    }
    return {name: reasons.get(name) for name in data.found if name != plan.target.column}


def _dangers(
    data: Data, rows: pl.DataFrame, plan: Plan, contract: dict[str, dict[str, Any]], names: list[str]
) -> Iterator[Danger]:
    """All that is dangerous, what gives the target away first."""
    timing, target = plan.timing, plan.target.column
    use_case = UseCase.model_validate(plan.attributes(contract))
    source = data.typed[target] if plan.target.operator else rows[target]
    found = dangers.known_later(use_case, rows, names, source, f"{plan.target}")
    found += dangers.useless(rows, _without(names, found))
    if timing.column:
        found += dangers.clocks(rows, _without(names, found), timing.column)
    yield from found
    yield from oddities.odd_letters(data.raw, plan.source.get("encoding", "utf-8"))
    yield from oddities.odd_values(data.raw, data.typed)
    yield from oddities.repeats(data.typed, plan.key.columns, plan.key.repeated)
    yield from oddities.thin_classes(rows[target], plan.labelling.task)
    for name, values in plan.ids.items():
        if plan.choices.entity is None:
            evidence = f"looks like what several rows belong to: {values:,} values in {rows.height:,} rows"
            yield Danger(name, evidence, f"kept; if rows of one are alike, give --entity {name}")
    if timing.ignored:
        evidence = "is a time, by which rows to judge on are not later than those to train on"
        yield Danger(timing.ignored, evidence, "kept; what changes with time flatters the figures")
    if timing.schedule and timing.column:
        if timing.schedule.outside:
            evidence = f"lies far from all others in {timing.schedule.outside:,} rows"
            yield Danger(timing.column, evidence, "in no partition: those rows are not read")
        yield from oddities.over_time(
            rows, rows[target], data.typed[timing.column], timing.schedule, _without(names, found)
        )


def _without(names: list[str], found: list[Danger]) -> list[str]:
    return [name for name in names if name not in {one.column for one in found}]


def _quarantined(data: Data, plan: Plan, contract: dict[str, dict[str, Any]]) -> float:
    """The greatest share of a partition's rows that the contract sends to quarantine."""
    drafted = UseCase.model_validate(plan.attributes(contract)).contract
    rows, schedule = coerce(data.raw, drafted), plan.timing.schedule
    if schedule is None or drafted.event_time is None:
        return split(rows, drafted, None)[1].height / rows.height
    rows = rows.with_columns(partition_of(drafted.event_time, schedule.every).fill_null(schedule.start))
    rows = rows.filter(pl.col(PARTITION).is_between(schedule.start, schedule.end, closed="left"))
    bad = split(rows, drafted, schedule.every)[1].group_by(PARTITION).len("bad")
    shares = rows.group_by(PARTITION).len().join(bad, on=PARTITION, how="left")
    return float(shares.select((pl.col("bad").fill_null(0) / pl.col("len")).max()).item())


def _roles(plan: Plan, left_out: dict[str, str | None]) -> dict[str, str]:
    """What becomes of each column, in a word or two."""
    roles = {name: "left out" if why is not None else "feature" for name, why in left_out.items()}
    for name in plan.key.columns:
        roles[name] = "key" if left_out.get(name) is not None else "key, feature"
    given = {plan.timing.column: "event time", plan.choices.entity: "entity", plan.target.column: "target"}
    return roles | {name: role for name, role in given.items() if name}
