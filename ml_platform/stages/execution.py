"""What a step does for a stage: look up, compute, judge, publish and record its partitions, chunk by chunk."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import monotonic
from typing import Any

import dagster as dg
import polars as pl
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._utils.interrupts import capture_interrupts, check_captured_interrupt

from ml_platform.fingerprints import Recipe, digest
from ml_platform.io_managers.publishing import Key, Metadata
from ml_platform.io_managers.tables import preview
from ml_platform.ml.contract import PARTITION
from ml_platform.partitions import day_of, span
from ml_platform.stages.acceptance import Acceptance
from ml_platform.stages.attributes import rows_told
from ml_platform.stages.definition import Computed, Keys, Prepared, StageDefinition, Verdict
from ml_platform.stages.failures import Refusal, Refusals, described, failure_class, retried, survived, told
from ml_platform.stages.last_good import LAST_GOOD, still_served
from ml_platform.stages.recipes import save
from ml_platform.stages.record import evaluation, materialization, newest_materializations, record, say
from ml_platform.stages.work import Work
from ml_platform.use_case import Stage

FORCE_TAG = "ml_platform/force"
PUBLISHED_AT_ONCE = 64
MADE_OF, UNCHANGED, FAILED_CHECKS = "made_of", "unchanged", "failed_checks"
TABLE_VERSION = "table_version"


@dataclass
class Progress:
    """How far a stage is: what is refused, which partitions are done, how many are unchanged, rows published."""

    refused: Refusals
    done: set[Key] = field(default_factory=set)
    unchanged: int = 0
    rows: int = 0


def run_stage(work: Work, stage: StageDefinition, keys: Keys) -> Refusals:
    """Bring partitions of a stage up to date, and those that were made of their old data.

    Why those that were refused were.
    """
    recipe = stage.recipe()
    retried(work, stage.name, keys, lambda: save(work.lake, recipe))
    refused = _run_chunks(work, stage, recipe, keys)
    if late := stage.made_of(work, keys):
        _, versions = retried(work, stage.name, late, lambda: fingerprinted(work, stage, recipe, late))
        published = work.data_versions(stage.name, late)
        stale = [key for key in late if published[key] and published[key] != versions[key]]
        if stale:
            say(work.step, f"{stage.name}: {span(list(map(str, stale)))} look back at data that has changed.", {})
        for word, reasons in _run_chunks(work, stage, recipe, stale).items():
            refused[word].update(reasons)
    return refused


def _run_chunks(work: Work, stage: StageDefinition, recipe: Recipe, keys: Keys) -> Refusals:
    begin, progress = monotonic(), Progress({word: {} for word in stage.assets})
    # all at once: most often there is no table yet, and nothing to look up
    retried(work, stage.name, keys, lambda: work.data_versions(stage.name, keys))
    advance, skip = partial(_advance, work, stage, recipe, progress), partial(_skip, work, stage, progress)
    for chunk in stage.chunks(work, keys):
        unchanged = progress.unchanged
        survived(work, stage.name, chunk, progress.done, advance, skip)
        seconds, bad, done = monotonic() - begin, len(progress.refused[stage.name]), len(progress.done)
        remaining = seconds / done * (len(keys) - done)
        left = f", about {remaining:.0f} s left." if remaining else "."
        rows = progress.rows  # a model has none
        published = f"{rows:,} rows published ({rows / seconds:,.0f} a second), " if rows else ""
        say(
            work.step,
            f"{stage.name}: {done} of {len(keys)} partitions, {progress.unchanged - unchanged} unchanged among the "
            f"last {len(chunk)}, {bad} refused, {published}{seconds:.1f} s{left}",
            {"stage": stage.name, "seconds": seconds, "partitions": done, "refused": bad, "rows": rows},
        )
    return progress.refused


def _advance(work: Work, stage: StageDefinition, recipe: Recipe, progress: Progress, keys: Keys) -> None:
    """Publish what has changed of some partitions and note what is refused."""
    prepared, versions = fingerprinted(work, stage, recipe, keys)
    published = work.data_versions(stage.name, keys)
    forced = work.step.run.tags.get(FORCE_TAG) == "true"
    due = {key: version for key, version in versions.items() if forced or published[key] != version}
    unchanged = {key: version for key, version in versions.items() if key not in due}
    made_of = {key: {"recipe": recipe.digest, "inputs": prepared.inputs[key]} for key in keys}
    if unchanged:
        for word in stage.assets:
            _record_unchanged(work, stage, word, unchanged, made_of)
        progress.unchanged += len(unchanged)
        progress.done.update(unchanged)
    if due:
        for computed in prepared.compute(list(due)):
            for piece in _pieces(computed, list(due)):
                versions = {key: due[key] for key in piece}
                part = _part(computed, piece)
                found = _publish(work, stage, part, versions, made_of)
                progress.refused[computed.stage].update(found)
                progress.rows += sum(rows_told(one) for key, one in part.metadata.items() if key not in found)
        progress.done.update(due)


def _skip(work: Work, stage: StageDefinition, progress: Progress, key: Key, error: BaseException) -> None:
    """Note that a partition could not be computed, as a verdict of the check that everything else is refused by."""
    kind = failure_class(error)
    verdict = Verdict(
        next(check.name for check in stage.checks if check.asset_key.path[-1] == stage.name and check.blocking),
        key,
        told(error),
        described(work, kind, [key]),
        acceptable=False,
        failure_class=kind,
    )
    computed = Computed(stage.name, pl.DataFrame(), {}, [verdict])
    progress.refused[stage.name].update(_publish(work, stage, computed, {key: ""}, {}))
    progress.done.add(key)


def fingerprinted(work: Work, stage: StageDefinition, recipe: Recipe, keys: Keys) -> tuple[Prepared, dict[Key, str]]:
    """Some partitions before they are computed, with the data version that each of them would have."""
    prepared, accepted = stage.prepare(work, keys), work.accepted(stage.name)
    return prepared, {key: digest([recipe.digest, prepared.inputs[key], str(accepted.get(key, ""))]) for key in keys}


def _publish(
    work: Work,
    stage: StageDefinition,
    computed: Computed,
    versions: Mapping[Key, str],
    made_of: Mapping[Key, Metadata],
) -> dict[Key, Refusal]:
    """Publish the partitions that no blocking verdict refuses, and record all verdicts; why the others were refused."""
    spec, accepted = stage.assets[computed.stage], work.accepted(computed.stage)
    refused: dict[Key, Refusal] = {}
    failed: dict[Key, dict[str, Metadata]] = {key: {} for key in versions}
    verdicts: list[tuple[Verdict, Acceptance | None]] = []
    for verdict in computed.verdicts:
        acceptance = accepted.get(verdict.partition) if verdict.blocks and verdict.acceptable else None
        verdicts.append((verdict if verdict.passed else _with_sample(verdict, computed.value), acceptance))
        if verdict.reason is not None:
            warns = verdict.warning or acceptance is not None
            failed[verdict.partition][verdict.check] = {"reason": verdict.reason, "warning": warns}
            if verdict.blocks and acceptance is None:
                refused.setdefault(verdict.partition, Refusal(verdict.reason, verdict.failure_class))
    passed = {key: versions[key] for key in versions if key in computed.metadata and key not in refused}
    with capture_interrupts():  # a run that is cancelled ends with all that is stored recorded
        value = _rows_of(computed.value, passed) if refused else computed.value
        written = dict(work.store(computed.stage).write(spec, value, passed)) if passed else {}
        newest = next(reversed(passed), None)
        materializations = [
            materialization(
                spec.key,
                key,
                version,
                {
                    # what is shown of the rows, once for all partitions; the commit, for each
                    **{name: shown for name, shown in written.items() if key == newest or name == TABLE_VERSION},
                    **computed.metadata.get(key, {}),
                    MADE_OF: made_of[key],
                    **({FAILED_CHECKS: failed[key]} if failed[key] else {}),
                    **({"accepted": str(accepted[key])} if key in accepted else {}),
                },
            )
            for key, version in passed.items()
        ]
        kept = still_served(work, computed.stage, [key for key, one in refused.items() if one.failure_class == "data"])
        _record(work, spec.key, [*materializations, *kept], verdicts)
        cancelled = check_captured_interrupt()
    if cancelled:
        raise DagsterExecutionInterruptedError
    work.published(computed.stage, passed)
    return refused


def _with_sample(verdict: Verdict, value: Any) -> Verdict:
    """A verdict against some rows, with the first of them: what is refused is stored nowhere else."""
    rows = _rows_of(value, [verdict.partition])
    if not isinstance(rows, pl.DataFrame) or rows.is_empty():
        return verdict
    return replace(verdict, metadata={**verdict.metadata, "sample": preview(rows)})


def _record(
    work: Work,
    key: dg.AssetKey,
    materializations: Sequence[dg.AssetMaterialization],
    verdicts: Sequence[tuple[Verdict, Acceptance | None]],
) -> None:
    """Record what was published, and then what was said of it: each verdict is one on the newest materialization."""
    record(work.step, materializations)
    newest = newest_materializations(work.instance, key, {verdict.partition for verdict, _ in verdicts})
    record(
        work.step,
        [evaluation(key, verdict, acceptance, newest.get(verdict.partition)) for verdict, acceptance in verdicts],
    )


def _pieces(computed: Computed, keys: Keys) -> Iterator[Keys]:
    """The partitions that are published at once: what a run that is killed would lose is bounded.

    Raises:
        ValueError: there are rows of other partitions; nothing was written.
    """
    rows = computed.value
    if not isinstance(rows, pl.DataFrame) or PARTITION not in rows.columns:
        yield keys
        return
    if strays := set(rows[PARTITION].unique()) - {day_of(str(key)) for key in keys}:
        stray = min(map(str, strays))
        raise ValueError(
            f"{computed.stage} has rows of {stray} among those of {span(list(map(str, keys)))}; nothing was written."
        )
    yield from (keys[position : position + PUBLISHED_AT_ONCE] for position in range(0, len(keys), PUBLISHED_AT_ONCE))


def _part(computed: Computed, keys: Keys) -> Computed:
    """What was computed of some of the partitions."""
    chosen = set(keys)
    return replace(
        computed,
        value=_rows_of(computed.value, chosen),
        metadata={key: one for key, one in computed.metadata.items() if key in chosen},
        verdicts=[verdict for verdict in computed.verdicts if verdict.partition in chosen],
    )


def _rows_of(value: Any, keys: Collection[Key]) -> Any:
    """The rows of some partitions; values that are no frames are mappings, read by partition."""
    if None in keys or not isinstance(value, pl.DataFrame) or PARTITION not in value.columns:
        return value
    return value.filter(pl.col(PARTITION).is_in([day_of(str(key)) for key in keys]))


def _record_unchanged(
    work: Work, stage: StageDefinition, word: Stage, versions: Mapping[Key, str], made_of: Mapping[Key, Metadata]
) -> None:
    """Record partitions that are as they would be computed, with what was said of them when they were."""
    spec = stage.assets[word]
    materializations: list[dg.AssetMaterialization] = []
    verdicts: list[tuple[Verdict, None]] = []
    last = newest_materializations(work.instance, spec.key, versions.keys())
    for key, version in versions.items():
        before = last[key].asset_materialization if key in last else None
        recorded = before is not None and (before.tags or {}).get(DATA_VERSION_TAG) == version
        metadata: dict[str, Any] = dict(before.metadata) if before and recorded else {MADE_OF: made_of[key]}
        metadata.pop(LAST_GOOD, None)  # what was refused in its place is gone
        failed = metadata[FAILED_CHECKS].value if FAILED_CHECKS in metadata else {}
        for check in stage.checks:
            # of what a killed run stored and did not record, or another instance did, no more is known than this:
            # nothing spoke against it
            if check.asset_key == spec.key and (recorded or (check.blocking and key not in work.accepted(word))):
                was = failed.get(check.name, {})
                verdict = Verdict(check.name, key, was.get("reason"), {UNCHANGED: True}, check.blocking)
                verdicts.append((replace(verdict, warning=was.get("warning", False)), None))
        materializations.append(materialization(spec.key, key, version, {**metadata, UNCHANGED: True}))
    _record(work, spec.key, materializations, verdicts)
