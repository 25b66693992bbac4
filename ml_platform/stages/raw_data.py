"""The stage `raw_data`: what the source gave, in the contract's columns and types, with nothing lost."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from ml_platform.fingerprints import recipe
from ml_platform.io_managers.publishing import Key
from ml_platform.io_managers.tables import column_schema
from ml_platform.ml.contract import DTYPES, PARTITION, RESCUED, coerce, missing_columns
from ml_platform.partitions import data_partitions, day_of, windows_of
from ml_platform.references import did_you_mean
from ml_platform.sources.delivery import Delivery, NotDeliveredError
from ml_platform.sources.kinds import read
from ml_platform.stages.attributes import asset_key, asset_spec, check_specs, row_count
from ml_platform.stages.chunks import as_large_as_the_last
from ml_platform.stages.definition import Computed, Keys, Prepared, StageDefinition, Verdict
from ml_platform.stages.record import newest_before, told
from ml_platform.stages.work import Work
from ml_platform.use_case import Contract, UseCase

DESCRIPTION = """What the source gave for the partition, as read.

Values that do not fit their declared type are kept, as text, in `rescued`."""
COLUMNS_SHOWN = 100
"""How many names of columns are told: a source may have a hundred thousand."""


def build(use_case: UseCase) -> StageDefinition:
    """The stage `raw_data` of a use case."""
    source, contract = use_case.source, use_case.contract
    spec = asset_spec(
        use_case,
        "raw_data",
        DESCRIPTION,
        deps=[dg.AssetKey(key.split("/")) for key in source.upstream],
        kinds={source.kind, "deltalake"},
        metadata={"dagster/column_schema": column_schema(raw_columns(use_case))},
    )
    formats = {name: one.format for name, one in contract.columns.items() if one.format}
    config = {
        "source": source.model_dump(),
        "columns": {name: one.type for name, one in contract.columns.items()},
        **({"formats": formats} if formats else {}),
    }
    return StageDefinition(
        assets={"raw_data": spec},
        checks=check_specs(
            use_case, "raw_data", {"readable": "The source could be read, has rows and all columns of the contract."}
        ),
        recipe=lambda: recipe(["ml_platform.ml.contract:coerce", *source.functions], config, ["polars"]),
        prepare=prepare,
        chunks=as_large_as_the_last("raw_data"),
    )


def prepare(work: Work, keys: Keys) -> Prepared:
    """Ask the source for partitions."""
    use_case = work.use_case
    definition = data_partitions(use_case)
    wanted = windows_of(definition, [key for key in keys if key is not None]) if definition else None
    deliveries = {delivery.partition: delivery for delivery in read(use_case, wanted, work.session)}

    def compute(due: Keys) -> Iterator[Computed]:
        frames: list[pl.DataFrame] = []
        verdicts, metadata = [], {}
        last: tuple[str, list[str]] | None = None
        for key in due:
            rows, reason = loaded(deliveries[key], use_case.contract)
            work.meter.read(rows)
            if reason is not None and rows.columns:
                last = last or _last_good(work, key)
                reason += _change(rows, use_case.contract, last)
            shown = {"source_fingerprint": deliveries[key].fingerprint}
            verdicts.append(Verdict("readable", key, reason, shown, acceptable=False))
            if reason is None:
                frames.append(labelled(rows.select(*use_case.contract.columns), key))
                left_out = [name for name in rows.columns if name not in use_case.contract.columns]
                metadata[key] = {**row_count(key, rows.height), **shown, "columns_left_out": left_out[:COLUMNS_SHOWN]}
                last = (str(key), left_out)
        yield Computed("raw_data", coerced(use_case, frames), metadata, verdicts)

    return Prepared({key: {"source": deliveries[key].fingerprint} for key in keys}, compute)


def loaded(delivery: Delivery, contract: Contract) -> tuple[pl.DataFrame, str | None]:
    """The rows of a delivery, and why they are no raw data of its partition, or None where they are."""
    try:
        rows = delivery.load()
    except NotDeliveredError as error:
        return pl.DataFrame(), str(error)
    if missing := missing_columns(rows, contract):
        return rows, f"the source has no column '{missing[0]}'; {did_you_mean(missing[0], rows.columns)}"
    if rows.is_empty():
        return rows, "the source gave no rows; deliver them, or end the partitions before it."
    return rows, None


def _last_good(work: Work, key: Key) -> tuple[str, list[str]] | None:
    """The last published partition before one, with the columns that its source had besides the contract's."""
    good = newest_before(work.instance, asset_key(work.use_case, "raw_data"), key)
    return (good.partition_key, told(good, "columns_left_out") or []) if good and good.partition_key else None


def _change(rows: pl.DataFrame, contract: Contract, last: tuple[str, list[str]] | None) -> str:
    """A sentence on the columns that are missing and new since the last good partition."""
    missing = missing_columns(rows, contract)
    if not missing or last is None:
        return ""
    new = [name for name in rows.columns if name not in {*contract.columns, *last[1]}]
    names, others = (", ".join(f"'{name}'" for name in some[:COLUMNS_SHOWN]) for some in (missing, new))
    return f" On {last[0]} there was {names}" + (f"; new since then: {others}." if others else ".")


def raw_columns(use_case: UseCase) -> dict[str, pl.DataType]:
    """The columns of raw data: the contract's, `rescued`, and `partition` where there are partitions."""
    columns = {name: DTYPES[column.type] for name, column in use_case.contract.columns.items()}
    return {**columns, RESCUED: pl.String(), **({PARTITION: pl.Date()} if use_case.windows else {})}


def labelled(rows: pl.DataFrame, partition: Key) -> pl.DataFrame:
    """Rows with the partition they came in."""
    return rows if partition is None else rows.with_columns(pl.lit(day_of(partition)).alias(PARTITION))


def coerced(use_case: UseCase, frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Frames as raw data, those of the same types at once: that is what takes the time."""
    kept = [PARTITION] if use_case.windows else []
    alike: dict[tuple[pl.DataType, ...], list[pl.DataFrame]] = {}
    for frame in frames:
        alike.setdefault(tuple(frame.dtypes), []).append(frame)
    wholes = [pl.concat(parts) for parts in alike.values()]
    raw = [coerce(whole, use_case.contract).hstack(whole.select(kept)) for whole in wholes]
    return pl.concat([pl.DataFrame(schema=raw_columns(use_case)), *raw])
