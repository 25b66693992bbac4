"""The component type `UseCase`: one YAML file becomes the whole asset graph of a model."""

from collections.abc import Iterator
from typing import Any, Self

import dagster as dg
from pydantic import BaseModel, ValidationError

from ml_platform import references, use_case
from ml_platform.alerts.sensor import ALERTS
from ml_platform.automation.conditions import with_conditions
from ml_platform.automation.definitions import schedules, sensors
from ml_platform.components.jobs import build_job
from ml_platform.components.scaffolder import UseCaseScaffolder
from ml_platform.stages import evaluation, features, model, monitoring, predictions, promotion, raw_data, validated_data
from ml_platform.stages.custom_checks import with_custom_checks
from ml_platform.stages.definition import StageDefinition
from ml_platform.stages.ledger import ledger_spec
from ml_platform.stages.step import build_step

STEPS = {
    "data": (raw_data, validated_data, features),
    "model": (model, evaluation, promotion),
    "predictions": (predictions, monitoring),
}
REFERENCES = (("source", "function"), ("features", "transform"), ("model", "estimator"), ("checks", "function"))


@dg.scaffold_with(UseCaseScaffolder)
class UseCase(use_case.UseCase, dg.Component):
    """One machine-learning use case, from a source of raw data to a champion model and its predictions.

    Every stage is an asset with checks; data is partitioned by event time, models by training cutoff.
    """

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The schema of the YAML file's attributes."""
        return use_case.UseCase

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        """The use case of a YAML file, with templates resolved and references made absolute.

        Raises:
            ValueError: a reference names nothing; the sentence has the field, the file and the line.
        """
        assert attributes is not None
        resolution = context.resolution_context.at_path("attributes")
        raw = attributes.model_dump(exclude_unset=True)
        values = _resolved(resolution, raw)
        package = context.defs_relative_module_name(context.path)
        for key, field in REFERENCES:
            for at, block in _blocks(values, key):
                if reference := block.get(field):
                    block[field] = references.absolute(reference, package)
                    if problem := references.problem(block[field]):
                        raise ValueError(f"{_place(context, *at, field)}: {problem}")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ValueError("; ".join(_sentence(context, raw, one) for one in error.errors())) from None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - Dagster's signature
        """The assets and checks of all stages, the ledger, the job on registered versions, schedules and sensors."""
        steps = [build_step(self, name, stages) for name, stages in stage_definitions(self).items()]
        if self.automation.mode == "declarative":
            steps = [with_conditions(self, step) for step in steps]
        return dg.Definitions(
            assets=[*steps, ledger_spec(self)],
            jobs=[build_job(self)],
            schedules=schedules(self),
            sensors=sensors(self),
            metadata={f"{ALERTS}/{self.name}": self.alerts.model_dump(mode="json")},
        )


def stage_definitions(use_case: use_case.UseCase) -> dict[str, list[StageDefinition]]:
    """The stages of a use case in the order of the flow, by the step that they share."""
    return {
        name: [with_custom_checks(use_case, stage.build(use_case)) for stage in stages]
        for name, stages in STEPS.items()
    }


def _resolved(context: dg.ResolutionContext, value: Any) -> Any:
    """A value with its templates resolved. Text without any stays as it is: Dagster makes a number of '1' too."""
    match value:
        case dict():
            return {key: _resolved(context.at_path(key), one) for key, one in value.items()}
        case list():
            return [_resolved(context.at_path(index), one) for index, one in enumerate(value)]
        case str() if "{{" in value:
            return context.resolve_value(value)
    return value


def _blocks(values: dict[str, Any], key: str) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """The block of a key, or each block of its list, with where it stands."""
    match values.get(key):
        case list(blocks):
            yield from (((key, index), block) for index, block in enumerate(blocks))
        case dict(block):
            yield (key,), block


def _place(context: dg.ComponentLoadContext, *at: str | int) -> str:
    tree = context.resolution_context.source_position_tree
    position = tree.lookup_closest_and_path(["attributes", *at], None)[0] if tree else context.path
    return f"{'.'.join(map(str, ('attributes', *at)))} at {position}"


def _sentence(context: dg.ComponentLoadContext, raw: Any, error: Any) -> str:
    """What is wrong after templates were resolved, with the text as it stands in the file."""
    written = raw
    for step in error["loc"]:
        written = written[step]
    message = error["msg"].removeprefix("Value error, ")
    return f"{_place(context, *error['loc'])}, written {written!r}: {message}"
