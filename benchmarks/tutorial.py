"""The same work as Dagster's tutorials teach it: pandas, an asset a stage, blocking checks, a run for each day.

`TUTORIAL_DATA` names the folder of the files. What a tutorial leaves to Dagster is left to it: the executor and the I/O
manager. It is faster than a tutorial's in two things: the valid and the quarantined rows are made in one step, and the
features by the same function in polars as everywhere else.
"""

import os
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import polars as pl

from ml_platform.defs.card_fraud.features import build

DAYS = dg.DailyPartitionsDefinition(start_date="2018-04-01", end_date="2018-10-01")
COLUMNS = ["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD"]
LARGEST_AMOUNT, QUARANTINE_AT_MOST, LOOKBACK_DAYS = 10_000, 0.02, 37


@dg.asset(partitions_def=DAYS)
def raw_data(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """The rows of the day's file."""
    file = Path(os.environ["TUTORIAL_DATA"], f"{context.partition_key}.parquet")
    return pd.read_parquet(file, columns=COLUMNS)


@dg.asset_check(asset=raw_data, blocking=True, partitions_def=DAYS)
def readable(raw_data: pd.DataFrame) -> dg.AssetCheckResult:
    """The file has rows and all columns."""
    return dg.AssetCheckResult(passed=bool(len(raw_data)) and list(raw_data.columns) == COLUMNS)


@dg.multi_asset(
    outs={"quarantine": dg.AssetOut(), "validated_data": dg.AssetOut()},
    partitions_def=DAYS,
)
def split(context: dg.AssetExecutionContext, raw_data: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows that break the contract with what they break, and the others."""
    rows = raw_data
    broken = {
        "TRANSACTION_ID nullable": rows["TRANSACTION_ID"].isna(),
        "TX_DATETIME nullable": rows["TX_DATETIME"].isna(),
        "CUSTOMER_ID nullable": rows["CUSTOMER_ID"].isna(),
        "TERMINAL_ID nullable": rows["TERMINAL_ID"].isna(),
        "TX_AMOUNT nullable": rows["TX_AMOUNT"].isna(),
        "TX_AMOUNT finite": np.isinf(rows["TX_AMOUNT"]),
        "TX_AMOUNT min": rows["TX_AMOUNT"] < 0,
        "TX_AMOUNT max": rows["TX_AMOUNT"] > LARGEST_AMOUNT,
        "TX_FRAUD one_of": ~rows["TX_FRAUD"].isin([0, 1]) & rows["TX_FRAUD"].notna(),
        "TX_DATETIME partition": rows["TX_DATETIME"].dt.date != date.fromisoformat(context.partition_key),
        "TRANSACTION_ID unique": rows["TRANSACTION_ID"].duplicated() & rows["TRANSACTION_ID"].notna(),
    }
    rules = pd.DataFrame(broken)
    bad = rules.any(axis=1)
    violations = [", ".join(rules.columns[row]) for row in rules[bad].to_numpy()]
    return rows[bad].assign(violations=violations), rows[~bad].astype({"CUSTOMER_ID": "int64"})


@dg.asset_check(
    asset=dg.AssetKey("validated_data"),
    additional_ins={"quarantine": dg.AssetIn("quarantine")},
    blocking=True,
    partitions_def=DAYS,
)
def contract(validated_data: pd.DataFrame, quarantine: pd.DataFrame) -> dg.AssetCheckResult:
    """Not too many rows break the contract."""
    share = len(quarantine) / (len(quarantine) + len(validated_data))
    return dg.AssetCheckResult(passed=share <= QUARANTINE_AT_MOST, metadata={"share": share})


@dg.asset(
    partitions_def=DAYS,
    ins={
        "validated_data": dg.AssetIn(
            partition_mapping=dg.TimeWindowPartitionMapping(
                start_offset=-LOOKBACK_DAYS, allow_nonexistent_upstream_partitions=True
            )
        )
    },
)
def features(context: dg.AssetExecutionContext, validated_data: Any) -> pd.DataFrame:
    """The features of the day's rows, with the days of the lookback in view."""
    # the first day of all has no day before it, and then Dagster gives its frame instead of a dictionary of frames
    frames = validated_data.values() if isinstance(validated_data, dict) else [validated_data]
    rows = pl.from_pandas(pd.concat(frames, ignore_index=True))
    made = build(rows.with_columns(pl.col("TX_DATETIME").dt.cast_time_unit("us")))
    return made.filter(pl.col("TX_DATETIME").dt.date() == date.fromisoformat(context.partition_key)).to_pandas()


@dg.asset_check(
    asset=features,
    additional_ins={"validated_data": dg.AssetIn("validated_data")},
    blocking=True,
    partitions_def=DAYS,
)
def complete(features: pd.DataFrame, validated_data: pd.DataFrame) -> dg.AssetCheckResult:
    """No row is lost."""
    return dg.AssetCheckResult(passed=len(features) == len(validated_data))


defs = dg.Definitions(assets=[raw_data, split, features], asset_checks=[readable, contract, complete])
