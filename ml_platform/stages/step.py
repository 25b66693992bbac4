"""A step: stages one after another over a range of partitions, with a verdict for each partition.

Dagster marks all partitions of a step or none. A step here publishes and records its partitions by itself, chunk by
chunk, and fails at its end for those that were refused: what was good is kept, whatever happens to the rest.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from ml_platform.io_managers.publishing import Step
from ml_platform.partitions import span
from ml_platform.stages.attributes import stored_by
from ml_platform.stages.definition import Keys, StageDefinition
from ml_platform.stages.execution import run_stage
from ml_platform.stages.failures import Refusals, failure, stopped, worst
from ml_platform.stages.supervised import watched
from ml_platform.stages.work import RESOURCES, Work
from ml_platform.use_case import UseCase

ALL_PARTITIONS = 1_000_000
REFUSED = "refused"


def build_step(use_case: UseCase, name: str, stages: Sequence[StageDefinition]) -> dg.AssetsDefinition:
    """The step of some stages, all with the same partitions; each of their assets can be selected by itself."""
    specs = {word: spec for stage in stages for word, spec in stage.assets.items()}
    checks = {f"{check.asset_key.path[-1]}_{check.name}": check for stage in stages for check in stage.checks}
    own = {spec.key for spec in specs.values()}
    inputs = {
        re.sub(r"\W", "_", "__".join(dep.asset_key.path)): dep.asset_key
        for spec in specs.values()
        for dep in spec.deps
        if dep.asset_key not in own
    }

    outputs: dict[str, dg.Out] = {word: dg.Out(io_manager_key=stored_by(word), is_required=False) for word in specs}
    verdicts = {output: dg.Out(dg.Nothing, is_required=False) for output in checks}

    @dg.op(
        name=f"{use_case.name}__{name}",
        ins={name: dg.In(dg.Nothing) for name in inputs},
        out={**outputs, **verdicts},
        required_resource_keys=RESOURCES,
        pool=f"{use_case.name}__{name}",
        tags=op_tags(use_case, stages),
    )
    def step(context: dg.AssetExecutionContext) -> Iterator[dg.Output[Any]]:
        stored = {key: getattr(context.resources, key) for key in RESOURCES}
        work = Work(use_case, **stored, instance=context.instance, context=context)
        refused: Refusals = {}
        for stage in stages:
            if _is_selected(context, stage):
                refused.update(_run(work, stage, partition_keys(context)))
                if any(refused.values()) and use_case.failures.data.do == "stop":
                    break
        for output, check in checks.items():
            if check.key in context.selected_asset_check_keys:
                yield dg.Output(None, output)
        if any(refused.values()):
            raise refusal(work, refused)
        for word, spec in specs.items():
            if spec.key in context.selected_asset_keys:
                yield dg.Output(Step.PUBLISHED, word)

    partitioned = next(iter(specs.values())).partitions_def is not None
    # all partitions in one run, but not in the run of what they are made of: that fails as a whole if it refuses some
    policy = dg.BackfillPolicy.multi_run(ALL_PARTITIONS) if inputs else dg.BackfillPolicy.single_run()
    return dg.AssetsDefinition(
        node_def=step,
        keys_by_input_name=inputs,
        keys_by_output_name={word: spec.key for word, spec in specs.items()},
        check_specs_by_output_name=checks,
        specs=list(specs.values()),
        can_subset=True,
        backfill_policy=policy if partitioned else None,
    )


def _run(work: Work, stage: StageDefinition, keys: Keys) -> Refusals:
    """Run a stage.

    Raises:
        dg.Failure: it had to stop; what it published before stays.
    """
    try:
        with work.scoring, watched(work, stage) as computable:
            return run_stage(work, computable, keys)
    except (dg.Failure, dg.RetryRequested):
        raise
    except Exception as error:
        raise stopped(work, stage.name, keys, error) from error


def refusal(work: Work, refused: Refusals) -> dg.Failure:
    """The failure that names what was refused and why, each reason once, with the gravest class among them."""
    lines = []
    for stage, refusals in refused.items():
        partitions: dict[str, list[str]] = {}
        for key, refusal in refusals.items():
            partitions.setdefault(refusal.reason, []).append(key or "")
        lines += [f"{stage} {span(keys)}".strip() + f": {reason}" for reason, keys in partitions.items()]
    found = [refusal.failure_class for refusals in refused.values() for refusal in refusals.values()]
    keys = sorted({key for refusals in refused.values() for key in refusals if key is not None})
    told = {stage: {str(key): one.reason for key, one in refusals.items()} for stage, refusals in refused.items()}
    message = f"{work.use_case.name} refused what failed its checks and published the rest. " + " ".join(lines)
    return failure(work, message, worst(work, found), keys, **{REFUSED: told})


def op_tags(use_case: UseCase, stages: Sequence[StageDefinition]) -> dict[str, Any]:
    """What Kubernetes is asked for, where dagster-k8s launches the step: the most that any of its stages may take."""
    limits = [use_case.limits[stage.name] for stage in stages if stage.name in use_case.limits]
    memory = max((limit.memory for limit in limits if limit.memory), default=None)
    gpus = max((limit.gpus for limit in limits if limit.gpus), default=None)
    resources = {
        **({"requests": {"memory": str(memory)}} if memory else {}),
        **({"limits": {"nvidia.com/gpu": str(gpus)}} if gpus else {}),
    }
    return {"dagster-k8s/config": {"container_config": {"resources": resources}}} if resources else {}


def partition_keys(context: dg.AssetExecutionContext) -> Keys:
    """The partitions of a step, or the one None of assets without partitions."""
    return list(context.partition_keys) if context.has_partition_key_range or context.has_partition_key else [None]


def _is_selected(context: dg.AssetExecutionContext, stage: StageDefinition) -> bool:
    """Whether an asset or a check of the stage is selected: a check judges what the stage publishes."""
    chosen = {*context.selected_asset_keys, *(check.asset_key for check in context.selected_asset_check_keys)}
    return any(spec.key in chosen for spec in stage.assets.values())
