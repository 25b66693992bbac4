"""What `monitoring` finds: a version's partitions next to its reference, since when, and whether to train again."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import polars as pl

from ml_platform.errors import UserError
from ml_platform.io_managers.publishing import Key
from ml_platform.ml.contract import PARTITION
from ml_platform.ml.metrics import Metric, metrics_of
from ml_platform.ml.monitored import (
    DEPARTED,
    IMMATURE,
    JUDGED,
    NOT_JUDGED,
    PREDICTION,
    USUAL,
    Kind,
    Limits,
    Profiled,
    judged,
    performances,
    scored,
)
from ml_platform.ml.profiles import COLUMN, METRIC, ROWS, SCALED, VALUE, Scales, profiles, scales_of
from ml_platform.ml.retraining import Decision
from ml_platform.partitions import data_partitions, day_of, filling_up
from ml_platform.resources.registry import Version
from ml_platform.stages.attributes import row_count
from ml_platform.stages.definition import Computed, Keys, Verdict
from ml_platform.stages.monitoring import HELPS, NO_DRIFT, PERFORMANCE, RETRAINING, metrics_watched
from ml_platform.stages.reference import BLOCKS, Now, Reference, as_they_are, reference
from ml_platform.stages.retraining import decided, told
from ml_platform.stages.work import Work
from ml_platform.use_case import UseCase

CHARTED = 90
"""The number of partitions that `false_alarms` is about."""
SHOWN = 3
NAMED = (PARTITION, "kind", COLUMN, METRIC)
COLUMNS = {**JUDGED, "since": pl.Date(), "labelled": pl.Float64(), "model_version": pl.Int64()}


def watched(
    work: Work, due: Keys, needed: Mapping[Key, list[Key]], mature: Mapping[Key, bool], registered: Sequence[Version]
) -> Computed:
    """What is found in partitions, each held to the version that scored it.

    `needed` has each of them that can be looked at, with those that it is averaged with; `mature` says of all these
    whether their labels are known; `registered` are the versions there are, the oldest first.
    """
    problems: dict[Key, str] = {
        key: "there are no predictions; materialize predictions first." for key in due if key not in needed
    }
    tables = [pl.DataFrame(schema=COLUMNS)]
    versions = {one.number: one for one in registered}
    for number, keys in scored_by(work, list(needed)).items():
        if number not in versions:
            gone = f"version {number}, which scored it, is gone; materialize predictions again."
            problems.update(dict.fromkeys(keys, gone))
            continue
        try:
            tables.append(held_to(work, versions[number], {key: needed[key] for key in keys}, mature))
        except UserError as error:
            problems.update(dict.fromkeys(keys, str(error)))
    history = with_since(work, pl.concat(tables), list(needed))
    table = (
        pl.concat(tables)
        .drop("since")
        .join(history.select(*NAMED, "since"), on=list(NAMED), how="left", maintain_order="left")
        .select(list(COLUMNS))
    )
    decision = decided(work, history, registered)
    parts = {key: table.filter(pl.col(PARTITION) == day(key)) for key in needed if key not in problems}
    verdicts = [Verdict("monitored", key, problems.get(key), acceptable=False) for key in due]
    for key, part in parts.items():
        verdicts += list(said(key, part, decision))
    shown = {
        key: {**row_count(key, part.height), **numbers(part), RETRAINING: told(decision)} for key, part in parts.items()
    }
    return Computed("monitoring", table if work.use_case.windows else table.drop(PARTITION, "since"), shown, verdicts)


def day(key: Key) -> date:
    """The first day of a partition; without partitions the last block stands for all of them."""
    return BLOCKS[-1] if key is None else day_of(key)


def scored_by(work: Work, keys: Keys) -> dict[int, list[Key]]:
    """The partitions by the number of the version that scored them."""
    if not keys:
        return {}
    rows = work.rows("predictions", keys)
    if work.use_case.windows is None:
        return {rows.select(pl.col("model_version").first()).collect().item(): [None]}
    found = rows.group_by(PARTITION).agg(pl.col("model_version").first()).sort(PARTITION).collect()
    by: dict[int, list[Key]] = {}
    for one, number in found.iter_rows():
        by.setdefault(number, []).append(f"{one}")
    return by


def held_to(work: Work, version: Version, needed: Mapping[Key, list[Key]], mature: Mapping[Key, bool]) -> pl.DataFrame:
    """The table of partitions that a version has scored.

    Raises:
        UserError: what it was made of is not known, or gone.
    """
    use_case, rules = work.use_case, work.use_case.monitoring
    known = reference(work, version)
    keys = consecutive(use_case, [one for found in needed.values() for one in found])
    now = as_they_are(work, version, keys)
    metrics = {name: metrics_of(use_case, known.model.threshold)[name] for name in metrics_watched(use_case)}
    is_labelled = now.labelled.filter(pl.col("labelled") >= rules.performance.labelled_at_least)[PARTITION]
    matured = {day(key) for key in keys if mature.get(key)} if use_case.windows else set(now.partitions)
    ready = pl.col(PARTITION).is_in(sorted(matured & set(is_labelled)))
    pairs = paired(use_case, known, now, metrics, ready)
    series = sum(then.select(COLUMN, METRIC).n_unique() for then, _ in pairs.values())
    window = rules.drift.window if use_case.windows else len(BLOCKS)
    error_rate = rules.drift.false_alarms / (CHARTED * series)
    daily = use_case.windows is not None and use_case.windows.every == "day"
    worse = {name: -1 if metric.greater_is_better else 1 for name, metric in metrics.items()}
    drift = Limits(window, error_rate, rules.drift.least, daily, {})
    decay = Limits(window, error_rate, rules.performance.loss, weekly=False, worse=worse)
    level = {"data": known.trained, "volume": known.trained}
    table = pl.concat(
        judged(
            kind,
            Profiled(known.partitions, then),
            level.get(kind, known.partitions),
            Profiled(now.partitions, later),
            decay if kind == PERFORMANCE else drift,
        )
        for kind, (then, later) in pairs.items()
    )
    if use_case.windows is None:
        table = table.with_columns(pl.col(VALUE).mean().over("kind", COLUMN, METRIC))
    immature = (pl.col("kind") == PERFORMANCE) & ~ready
    # their features have seen less of the past than those of the rows that the model was trained on
    filling = (pl.col("kind") != "volume") & pl.col(PARTITION).is_in(list(map(day, filling_up(use_case, keys))))
    verdict = pl.when(immature).then(pl.lit(IMMATURE)).when(filling).then(pl.lit(NOT_JUDGED)).otherwise("verdict")
    return (
        table.filter(pl.col(PARTITION).is_in([day(key) for key in needed]), pl.col(VALUE).is_not_null())
        .with_columns(verdict.alias("verdict"))
        .join(now.labelled, on=PARTITION, how="left", maintain_order="left")
        .with_columns(pl.lit(None, pl.Date).alias("since"), pl.lit(version.number, pl.Int64).alias("model_version"))
        .select(list(COLUMNS))
    )


def paired(
    use_case: UseCase, known: Reference, now: Now, metrics: Mapping[str, Metric], ready: pl.Expr
) -> dict[Kind, tuple[pl.DataFrame, pl.DataFrame]]:
    """The profiles of the reference, and of partitions as they are; performance counts where `ready` is true."""
    but_rows, is_trained = pl.col(METRIC) != ROWS, pl.col(PARTITION).is_in(sorted(known.trained))
    scales = scales_of(known.data.filter(is_trained), known.model.columns)
    then_scored = scored(use_case, known.model, known.unseen)
    of_score = scales_of(then_scored.lazy(), [PREDICTION])
    then_performance = performances(use_case, known.model, then_scored, metrics, {})
    usual = dict(then_performance.group_by(METRIC).agg(pl.col(VALUE).mean()).iter_rows())
    performance = performances(use_case, known.model, now.scored, metrics, usual)
    pairs: dict[Kind, tuple[pl.DataFrame, pl.DataFrame]] = {
        "data": (profiles(known.data, scales).filter(but_rows), profiles(now.rows, scales).filter(but_rows)),
        "prediction": (
            profiles(then_scored.lazy(), of_score).filter(but_rows),
            profiles(now.scored.lazy(), of_score).filter(but_rows),
        ),
        "performance": (then_performance, performance.with_columns(pl.when(ready).then(SCALED).alias(SCALED))),
    }
    if use_case.windows is not None:  # without partitions fewer rows were trained on than are scored
        only_rows = Scales({}, {})
        pairs["volume"] = (profiles(known.all_rows, only_rows), profiles(now.rows, only_rows))
    return pairs


def consecutive(use_case: UseCase, keys: Keys) -> list[Key]:
    """All partitions from the first to the last of these."""
    definition = data_partitions(use_case)
    if definition is None:
        return [None]
    first, last = min(map(str, keys)), max(map(str, keys))
    return [key for key in definition.get_partition_keys() if first <= key <= last]


def with_since(work: Work, table: pl.DataFrame, keys: Keys) -> pl.DataFrame:
    """All that was found so far, with `table` for these partitions: since when each number has departed unbroken."""
    definition = data_partitions(work.use_case)
    if definition is None:
        return table
    every = list(definition.get_partition_keys())
    stored = work.rows("monitoring", every).collect()
    if stored.width:
        others = stored.filter(~pl.col(PARTITION).is_in([day(key) for key in keys]))
        table = pl.concat([others.select(list(COLUMNS)), table])
    places = pl.DataFrame({PARTITION: [day_of(key) for key in every]}).with_row_index("place")
    run = (pl.col("place").cast(pl.Int64).diff() != 1).fill_null(value=True).cum_sum()
    since = (
        table.filter(pl.col("verdict") == DEPARTED)
        .join(places, on=PARTITION)
        .sort("place")
        .with_columns(run.over(NAMED[1:]).alias("run"))
        .select(*NAMED, pl.col(PARTITION).min().over(*NAMED[1:], "run").alias("since"))
    )
    return table.drop("since").join(since, on=list(NAMED), how="left", maintain_order="left").select(list(COLUMNS))


def said(key: Key, part: pl.DataFrame, decision: Decision) -> Iterator[Verdict]:
    """What is said of a partition by its rows of the table; nothing of it keeps the table back."""
    by_excess = (pl.col("statistic").abs() / pl.col("threshold")).alias("excess")
    worst = part.filter(pl.col("verdict") == DEPARTED).sort(by_excess, descending=True)
    drifted, worse = worst.filter(pl.col("kind") != PERFORMANCE), worst.filter(pl.col("kind") == PERFORMANCE)
    reason = _told(drifted, "look at the source and the transform, or train on newer rows") if drifted.height else None
    count = {one: part.filter(pl.col("verdict") == one).height for one in (USUAL, DEPARTED, NOT_JUDGED)}
    yield Verdict(NO_DRIFT, key, reason, count, blocks=False, warning=True)
    reason = _told(worse, "look at the labels, or train on newer rows") if worse.height else None
    immature = part.filter(pl.col("verdict") == IMMATURE).height
    yield Verdict(PERFORMANCE, key, reason, {IMMATURE: immature > 0}, blocks=False)
    yield Verdict(HELPS, key, decision.why if decision.given_up else None, {"tries": decision.tries}, blocks=False)


def _told(rows: pl.DataFrame, fix: str) -> str:
    told = [
        f"{one[COLUMN]} ({one[METRIC]}) is {one[VALUE]:.4g}, usually {one['usual']:.4g}: off by "
        f"{one['statistic']:+.2f}, {one['threshold']:.2f} is allowed"
        + (f", since {one['since']}" if one["since"] else "")
        for one in rows.head(SHOWN).iter_rows(named=True)
    ]
    more = f"; and {rows.height - SHOWN} more" if rows.height > SHOWN else ""
    return f"{'; '.join(told)}{more}; {fix}."


def numbers(part: pl.DataFrame) -> dict[str, Any]:
    """The numbers that the UI plots: how many features drift, by how much the score does, and the performance."""
    red = part.filter(pl.col("verdict") == DEPARTED)
    score = part.filter(pl.col("kind") == PREDICTION, pl.col("statistic").is_not_null())["statistic"].abs()
    measured = part.filter(pl.col("kind") == PERFORMANCE, pl.col("verdict") != IMMATURE)
    return {
        "model_version": part["model_version"][0],
        "not_judged": part.filter(pl.col("verdict") == NOT_JUDGED).height,
        "drifting_features": red.filter(pl.col("kind") == "data")[COLUMN].n_unique(),
        **({"prediction_drift": max(score.to_list())} if score.len() else {}),
        **dict(measured.select(METRIC, VALUE).iter_rows()),
        "labelled": float(part["labelled"][0]),
    }
