"""The fifteen features of the card fraud use case, by the names of the published table."""

from datetime import timedelta

import polars as pl

from ml_platform.ml.windows import Aggregate, trailing_windows

WINDOWS = {str(days): timedelta(days=days) for days in (1, 7, 30)}
LABEL_DELAY = timedelta(days=7)
LAST_NIGHT_HOUR = 6
SATURDAY = 6


def build(payments: pl.DataFrame) -> pl.DataFrame:
    """Key, time and label of each payment with its features.

    How often and how much the customer paid in the last 1, 7 and 30 days, this payment included; and how often a
    payment at the terminal turned out to be fraud in windows that end 7 days before, when the label is known.
    """
    customers = trailing_windows(
        payments,
        entity="CUSTOMER_ID",
        time="TX_DATETIME",
        windows=WINDOWS,
        aggregates=[
            Aggregate("CUSTOMER_ID_NB_TX_{window}DAY_WINDOW", "count"),
            Aggregate("CUSTOMER_ID_AVG_AMOUNT_{window}DAY_WINDOW", "mean", "TX_AMOUNT"),
        ],
    )
    terminals = trailing_windows(
        payments,
        entity="TERMINAL_ID",
        time="TX_DATETIME",
        windows=WINDOWS,
        aggregates=[
            Aggregate("TERMINAL_ID_NB_TX_{window}DAY_WINDOW", "count"),
            Aggregate("TERMINAL_ID_RISK_{window}DAY_WINDOW", "share", "TX_FRAUD", empty=0.0),
        ],
        delay=LABEL_DELAY,
    )
    time = pl.col("TX_DATETIME").dt
    return pl.concat(
        [
            payments.select(
                "TRANSACTION_ID",
                "TX_DATETIME",
                "TX_FRAUD",
                "TX_AMOUNT",
                (time.weekday() >= SATURDAY).cast(pl.Int8).alias("TX_DURING_WEEKEND"),
                (time.hour() <= LAST_NIGHT_HOUR).cast(pl.Int8).alias("TX_DURING_NIGHT"),
            ),
            customers,
            terminals,
        ],
        how="horizontal",
    )
