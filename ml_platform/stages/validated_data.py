"""The stage `validated_data`: rows that keep the contract; the others go to `quarantine` with what they broke."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from ml_platform.io_managers.tables import column_schema
from ml_platform.ml.contract import PARTITION, RESCUED, VIOLATIONS, split
from ml_platform.stages.attributes import asset_key, asset_spec, check_specs, row_count, stage_step
from ml_platform.stages.raw_data import raw_columns
from ml_platform.stages.verdicts import Verdict, conclude, partition_keys
from ml_platform.use_case import UseCase

VIOLATION = pl.List(pl.Struct({"column": pl.String(), "rule": pl.String(), "value": pl.String()}))
WORST_RULES = 5


def build(use_case: UseCase) -> dg.AssetsDefinition:
    """The assets `validated_data` and `quarantine` of a use case; every raw row is in exactly one of the two."""
    columns = raw_columns(use_case)
    valid = asset_spec(
        use_case,
        "validated_data",
        "The rows that keep the contract, in the declared types.",
        kinds={"polars", "deltalake"},
        metadata={
            "dagster/column_schema": column_schema({name: kind for name, kind in columns.items() if name != RESCUED})
        },
    )
    quarantine = asset_spec(
        use_case,
        "quarantine",
        "The rows that break the contract, each with its violations: column, rule and value.",
        kinds={"polars", "deltalake"},
        metadata={"dagster/column_schema": column_schema({**columns, VIOLATIONS: VIOLATION})},
    )
    limit = use_case.contract.quarantine_at_most

    @stage_step(
        quarantine,
        valid,
        io_manager="tables",
        ins={"raw_data": dg.AssetIn(asset_key(use_case, "raw_data"))},
        checks=check_specs(
            use_case, "validated_data", contract=f"At most {limit:.2%} of the partition's rows break the contract."
        ),
    )
    def validated_data(context: dg.AssetExecutionContext, raw_data: pl.DataFrame) -> Iterator[dg.Output[Any]]:
        keys = partition_keys(context)
        kept, quarantined = split(raw_data, use_case.contract, use_case.windows.every if use_case.windows else None)
        raw_rows, bad_rows = rows_by_partition(raw_data), rows_by_partition(quarantined)
        counts = {key: (raw_rows.get(key, 0), bad_rows.get(key, 0)) for key in keys}
        broken = broken_rules(quarantined)
        # quarantine first: why a partition was refused must be there to look at
        yield from conclude(
            context,
            quarantine.key,
            quarantined,
            [],
            {key: {**row_count(key, bad), "broken_rules": broken.get(key, {})} for key, (_, bad) in counts.items()},
        )
        verdicts = [
            Verdict("contract", key, _reason(rows, bad, limit, broken.get(key, {})), {"rows": rows, "quarantined": bad})
            for key, (rows, bad) in counts.items()
        ]
        metadata = {key: {**row_count(key, rows - bad), "quarantined": bad} for key, (rows, bad) in counts.items()}
        yield from conclude(context, valid.key, kept, verdicts, metadata)

    return validated_data


def rows_by_partition(rows: pl.DataFrame) -> dict[str | None, int]:
    """The number of rows in each partition, by its key."""
    if PARTITION not in rows.columns:
        return {None: rows.height}
    counted = rows.group_by(PARTITION).len().with_columns(pl.col(PARTITION).cast(pl.String))
    return dict(counted.iter_rows())


def broken_rules(quarantined: pl.DataFrame) -> dict[str | None, dict[str, int]]:
    """How often each rule was broken in each partition, the worst first."""
    by = [PARTITION] if PARTITION in quarantined.columns else []
    violations = quarantined.select(*by, VIOLATIONS).explode(VIOLATIONS, empty_as_null=False).unnest(VIOLATIONS)
    counted = (
        violations.group_by(*by, "column", "rule").len().sort("len", "column", "rule", descending=[True, False, False])
    )
    rules: dict[str | None, dict[str, int]] = {}
    for row in counted.iter_rows(named=True):
        rules.setdefault(str(row[PARTITION]) if by else None, {})[f"{row['column']} {row['rule']}"] = row["len"]
    return rules


def _reason(rows: int, bad: int, limit: float, broken: dict[str, int]) -> str | None:
    if rows == 0:
        return "there is no raw data; materialize raw_data first."
    if bad / rows > limit:
        worst = ", ".join(f"{rule} {times}" for rule, times in list(broken.items())[:WORST_RULES])
        return (
            f"{bad} of {rows} rows break the contract ({bad / rows:.1%}, at most {limit:.1%} may): {worst}; "
            "look at quarantine, mend the source or the contract."
        )
    return None
