"""The source `asset`: rows of another Dagster asset, loaded by its own I/O manager."""

from collections.abc import Sequence

import dagster as dg
import polars as pl
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from ml_platform.ml.frames import to_polars
from ml_platform.partitions import data_partitions
from ml_platform.sources.delivery import (
    Delivery,
    NotDeliveredError,
    Session,
    Wanted,
    by_partition,
    concatenated,
    undelivered,
)
from ml_platform.sources.retrying import retried
from ml_platform.use_case import AssetSource, UseCase

Key = str | None


def read(source: AssetSource, use_case: UseCase, wanted: Wanted, session: Session) -> list[Delivery]:
    """What the asset has for each wanted partition: its own of the same name, or its rows cut by event time.

    Nothing is loaded before it is wanted: the newest data version tells whether anything has changed.
    """
    assert session.instance is not None
    newest = session.instance.fetch_materializations(_key(source), limit=1).records
    if not newest:
        problem = f"the asset {source.key} was never materialized; materialize it first."
        return [undelivered(key, problem) for key in wanted or [None]]
    if newest[0].partition_key is not None:
        if wanted is not None:
            return [_delivery(source, session, key, [key]) for key in wanted]
        return [_delivery(source, session, None, sorted(session.instance.get_materialized_partitions(_key(source))))]
    if wanted is None:
        return [_delivery(source, session, None, [None])]
    definition = data_partitions(use_case)
    assert definition is not None
    every, version = definition.get_partition_keys(), _version(source, session, None)
    whole = f"{source.key} {version}"

    def load(key: str) -> pl.DataFrame:
        if whole not in session.wholes:
            rows = _load(source, session, [None], [version])
            session.wholes[whole] = by_partition(rows, use_case, {*every, *wanted}, undated=every[0])
        return session.wholes[whole][key]

    return [Delivery(key, str(version), lambda key=key: load(key)) for key in wanted]  # type: ignore[misc]


def _delivery(source: AssetSource, session: Session, partition: Key, of: Sequence[Key]) -> Delivery:
    """A partition made of some of the asset's."""
    versions = [_version(source, session, key) for key in of]
    if None in versions:
        problem = f"the asset {source.key} has no partition {of[versions.index(None)]}; materialize it first."
        return undelivered(partition, problem)
    return Delivery(partition, " ".join(map(str, versions)), lambda: _load(source, session, of, versions))


def _load(source: AssetSource, session: Session, of: Sequence[Key], versions: Sequence[str | None]) -> pl.DataFrame:
    assert session.step is not None
    step, frames = session.step, []
    for key in of:
        where = f"the asset {source.key}" + (f" of {key}" if key else "")
        try:
            value = retried(lambda key=key: step.load_asset_value(_key(source), partition_key=key))  # type: ignore[misc]
            frames.append(to_polars(value, where))
        except Exception as error:  # whatever its I/O manager raises
            raise NotDeliveredError(f"{where} cannot be loaded: {error}") from error
    if [_version(source, session, key) for key in of] != list(versions):
        raise NotDeliveredError(f"the asset {source.key} was materialized while it was read; run again.")
    return concatenated(frames, f"the partitions of {source.key}")


def _key(source: AssetSource) -> dg.AssetKey:
    return dg.AssetKey(source.key.split("/"))


def _version(source: AssetSource, session: Session, partition: Key) -> str | None:
    """The data version of the newest materialization, or which one it is; None where there is none."""
    assert session.instance is not None
    which = dg.AssetRecordsFilter(_key(source), asset_partitions=[partition] if partition else None)
    found = session.instance.fetch_materializations(which, limit=1).records
    if not found or found[0].asset_materialization is None:
        return None
    return (found[0].asset_materialization.tags or {}).get(DATA_VERSION_TAG, f"materialization {found[0].storage_id}")
