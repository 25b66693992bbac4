"""The stage `features`: the user's transform over ranges of partitions, the lookback before them, and its inputs."""

from collections.abc import Iterator, Mapping

import polars as pl

from ml_platform.fingerprints import digest, recipe
from ml_platform.io_managers.publishing import Key
from ml_platform.ml.contract import PARTITION
from ml_platform.ml.features import transformed
from ml_platform.partitions import day_of, lookback_steps, looked_at, looking_back_at, span
from ml_platform.sources import files
from ml_platform.sources.delivery import Delivery, NotDeliveredError, Session
from ml_platform.stages.attributes import asset_key, asset_spec, check_specs, row_count
from ml_platform.stages.chunks import of
from ml_platform.stages.definition import FOLLOWS, Computed, Keys, Prepared, StageDefinition, Verdict
from ml_platform.stages.validated_data import rows_by_partition
from ml_platform.stages.work import Work
from ml_platform.use_case import UseCase


def build(use_case: UseCase) -> StageDefinition:
    """The stage `features` of a use case."""
    contract, declared = use_case.contract, use_case.features
    spec = asset_spec(
        use_case,
        "features",
        "One row for each validated row, with its features.",
        # a backfill of some days must not ask for days after them that have no data yet, as a mapping of the lookback
        # would: those that have some are found by `made_of`
        deps=[asset_key(use_case, "validated_data")],
        kinds={"polars", "deltalake"},
    )
    config = {
        "features": declared.model_dump(mode="json"),
        "key": contract.key,
        "event_time": contract.event_time,
        "label": use_case.label.column,
    }
    return StageDefinition(
        assets={"features": spec},
        checks=check_specs(
            use_case,
            "features",
            {"complete": "Every day the lookback needs is there, and each validated row has one row of features."},
        ),
        recipe=lambda: recipe([declared.transform] if declared.transform else [], config, ["polars"]),
        prepare=prepare,
        chunks=of("validated_data", lookback_steps(use_case)),
        made_of=lambda work, keys: looking_back_at(work.use_case, keys),
    )


def prepare(work: Work, keys: Keys) -> Prepared:
    """Look up the validated data of partitions and of the lookback before them."""
    use_case = work.use_case
    needed = looked_at(use_case, keys)
    versions = work.data_versions(
        "validated_data", sorted({one for found in needed.values() for one in found}, key=str)
    )
    inputs = deliveries(use_case)

    def compute(due: Keys) -> Iterator[Computed]:
        missing = {key: [str(one) for one in needed[key] if not versions[one]] for key in due}
        computable = [key for key in due if versions[key]]
        rows, expected = pl.DataFrame(), dict[Key, int]()
        try:
            tables = loaded(inputs)
        except NotDeliveredError as error:
            refused = [Verdict("complete", key, str(error), acceptable=False) for key in due]
            yield Computed("features", rows, {}, refused)
            return
        if computable:
            lookback = {one for key in computable for one in needed[key]}
            validated = work.read("validated_data", sorted(lookback, key=str))
            rows, expected = transformed(use_case, validated, tables), rows_by_partition(validated)
            if use_case.windows:
                rows = rows.filter(pl.col(PARTITION).is_in([day_of(key) for key in computable if key]))
        given = rows_by_partition(rows)
        verdicts = [
            Verdict(
                "complete",
                key,
                _reason(missing[key], expected.get(key, 0), given.get(key, 0)),
                {FOLLOWS: "validated_data"} if missing[key] else {},
                acceptable=bool(versions[key]) and expected.get(key, 0) == given.get(key, 0),
            )
            for key in due
        ]
        yield Computed("features", rows, {key: row_count(key, given.get(key, 0)) for key in due}, verdicts)

    made_of = {key: digest([versions[one] for one in needed[key]]) if versions[key] else None for key in keys}
    fingerprints = {name: delivery.fingerprint for name, delivery in inputs.items()}
    return Prepared({key: {"validated_data": version, **fingerprints} for key, version in made_of.items()}, compute)


def deliveries(use_case: UseCase) -> dict[str, Delivery]:
    """The further tables that the transform takes, by their names, as their files are now."""
    return {name: files.read(source, use_case, None, Session())[0] for name, source in use_case.features.inputs.items()}


def loaded(inputs: Mapping[str, Delivery]) -> dict[str, pl.DataFrame]:
    """The rows of such tables.

    Raises:
        NotDeliveredError: one of them cannot be read.
    """
    tables = {}
    for name, delivery in inputs.items():
        try:
            tables[name] = delivery.load()
        except NotDeliveredError as error:
            raise NotDeliveredError(f"features.inputs.{name}: {error}") from error
    return tables


def _reason(missing: list[str], validated: int, given: int) -> str | None:
    if missing:
        of = "" if missing == ["None"] else f" for {span(missing)}"
        return f"validated_data has no rows{of}, which the features need; materialize it first."
    if given != validated:
        return f"the transform made {given} rows of {validated}; it must return one row for each row given."
    return None
