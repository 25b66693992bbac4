"""The component type `UseCase`: one YAML file becomes the whole asset graph of a model."""

from typing import Any, Self

import dagster as dg
from pydantic import BaseModel, ValidationError

from ml_platform import references, use_case
from ml_platform.stages import evaluation, features, model, predictions, promotion, raw_data, validated_data

FLOW = (raw_data, validated_data, features, model, evaluation, promotion, predictions)
REFERENCES = (("source", "function"), ("features", "transform"), ("model", "estimator"))


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
        values = resolution.resolve_value(raw)
        package = context.defs_relative_module_name(context.path)
        for block, field in REFERENCES:
            if reference := values.get(block, {}).get(field):
                absolute = references.absolute(reference, package)
                values[block][field] = absolute
                if problem := references.problem(absolute):
                    raise ValueError(f"{_place(context, block, field)}: {problem}")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ValueError("; ".join(_sentence(context, raw, one) for one in error.errors())) from None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - Dagster's signature
        """The assets and checks of all stages."""
        return dg.Definitions(assets=[stage.build(self) for stage in FLOW])


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
