"""What the checks of a run that ended say: which are red or green, and which gave no verdict."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from ml_platform.alerts.incidents import WHOLE, Finding
from ml_platform.alerts.project import Project
from ml_platform.stages.definition import EXAMPLES, FOLLOWS
from ml_platform.stages.last_good import LAST_GOOD
from ml_platform.use_case import SEVERITIES, Kind, Severity
from ml_platform.use_case.words import MODEL

SHOWN_EXAMPLES = 3
MONITORING = "monitoring"
SEVERITY = "severity"  # of the metadata of a failure, where a stage says it
Place = tuple[dg.AssetCheckKey, str]
"""A check and the partition that it judges."""


def judged(project: Project, run: dg.DagsterRun, events: Sequence[dg.DagsterEvent]) -> Iterator[Finding]:
    """What the verdicts of a run say, but those that follow from another one."""
    verdicts = _verdicts(events)
    red = {key.asset_key.path[-1] for (key, _), verdict in verdicts.items() if not _is_good(verdict)}
    found: dict[tuple[dg.AssetCheckKey, bool, Severity], dict[str, dg.AssetCheckEvaluation]] = {}
    for (key, partition), verdict in verdicts.items():
        if FOLLOWS not in verdict.metadata or verdict.metadata[FOLLOWS].value not in red:
            found.setdefault((key, _is_good(verdict), _severity(project, verdict)), {})[partition] = verdict
    for (key, passed, severity), one in sorted(found.items(), key=lambda group: group[0][1]):  # red before green
        first = one[min(one)]
        yield Finding(
            kind=_kind(key),
            use_case=project.known(key.asset_key.path[0]),
            subject=_subject(key),
            passed=passed,
            partitions=sorted(one),
            severity=severity,
            why=first.description or "",
            examples=_examples(first),
            run_id=run.run_id,
            # what was published all the same, and the model of a cutoff, is not made again: the next one counts
            from_here_on=not first.blocking or key.asset_key.path[-1] in MODEL,
        )


def unjudged(project: Project, run: dg.DagsterRun, events: Sequence[dg.DagsterEvent]) -> Iterator[Finding]:
    """Where checks gave no verdict though they should have, and where they gave one, red or green.

    In a run that was cut short they should have on what it has published: it has not come to the rest.
    """
    given = _verdicts(events).keys()
    missing = _planned(events) - given
    why = "its run succeeded all the same; look at its log."
    if not run.is_success:
        published = _published(events)
        missing = {(key, partition) for key, partition in missing if (key.asset_key, partition) in published}
        why = "it was published, but the run ended before it was judged; the next run over it judges it."
    for passed, places in ((False, missing), (True, given)):
        partitions: dict[dg.AssetCheckKey, list[str]] = {}
        for key, partition in places:
            partitions.setdefault(key, []).append(partition)
        for key, keys in partitions.items():
            use_case = key.asset_key.path[0]
            yield Finding(
                kind="check_missing",
                use_case=project.known(use_case),
                subject=_subject(key),
                passed=passed,
                partitions=sorted(keys),
                severity=project.about(use_case).severity("check_missing"),
                why=why,
                run_id=run.run_id,
            )


def _planned(events: Sequence[dg.DagsterEvent]) -> set[Place]:
    planned: set[Place] = set()
    for event in events:
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            data: Any = event.event_specific_data
            keys = data.partitions_subset.get_partition_keys() if data.partitions_subset else [WHOLE]
            planned.update((data.asset_check_key, key) for key in keys)
    return planned


def _verdicts(events: Sequence[dg.DagsterEvent]) -> dict[Place, dg.AssetCheckEvaluation]:
    evaluated = [event for event in events if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION]
    found: list[Any] = [event.event_specific_data for event in evaluated]
    return {(one.asset_check_key, one.partition or WHOLE): one for one in found}


def _published(events: Sequence[dg.DagsterEvent]) -> set[tuple[dg.AssetKey, str]]:
    """The partitions that a run has published, without those that were refused and keep what they had."""
    materialized = [event for event in events if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION]
    found = [event.step_materialization_data.materialization for event in materialized]
    return {(one.asset_key, one.partition or WHOLE) for one in found if LAST_GOOD not in one.metadata}


def _subject(check: dg.AssetCheckKey) -> str:
    return f"{check.name} of {'/'.join(check.asset_key.path[1:] or check.asset_key.path)}"


def _kind(check: dg.AssetCheckKey) -> Kind:
    return "drift" if check.asset_key.path[-1] == MONITORING else "check_failed"


def _is_good(verdict: dg.AssetCheckEvaluation) -> bool:
    """Whether a check passed, or a person has accepted that it did not."""
    return verdict.passed or (bool(verdict.blocking) and verdict.severity is dg.AssetCheckSeverity.WARN)


def _severity(project: Project, verdict: dg.AssetCheckEvaluation) -> Severity:
    kind = _kind(verdict.asset_check_key)
    if kind == "check_failed" and verdict.severity is dg.AssetCheckSeverity.WARN:  # drift only ever warns
        return "low"
    usual = project.about(verdict.asset_check_key.asset_key.path[0]).severity(kind)
    return said_severity(verdict.metadata) or usual


def said_severity(metadata: Mapping[str, dg.MetadataValue[Any]]) -> Severity | None:
    """The severity that a stage recorded with a failure, if it did."""
    said = metadata[SEVERITY].value if SEVERITY in metadata else None
    return next((one for one in SEVERITIES if one == said), None)


def _examples(verdict: dg.AssetCheckEvaluation) -> list[str]:
    """Values that break a rule, or else rows of what was refused, as they were recorded."""
    if EXAMPLES in verdict.metadata:
        values: Any = verdict.metadata[EXAMPLES].value
        return [str(one) for one in values][:SHOWN_EXAMPLES]
    sample = verdict.metadata.get("sample")
    return str(sample.value).splitlines()[2 : 2 + SHOWN_EXAMPLES] if sample else []
