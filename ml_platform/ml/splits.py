"""Which rows a model is trained on and which it is judged on."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

import polars as pl

from ml_platform.use_case import Label, Model

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Window:
    """A half-open window of event time: [start, end)."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        """The window by its first and last moment, days as `2018-08-08..2018-08-14`."""
        if self.start.time() == self.end.time() == datetime.min.time():
            return f"{self.start:%Y-%m-%d}..{self.end - DAY:%Y-%m-%d}"
        return f"{self.start:%Y-%m-%d %H:%M}..{self.end:%Y-%m-%d %H:%M}"

    def select(self, event_time: str) -> pl.Expr:
        """True for the rows whose event time lies in the window."""
        return pl.col(event_time).is_between(self.start, self.end, closed="left")


@dataclass(frozen=True)
class Windows:
    """What the model of one cutoff is trained on, judged on, and could know."""

    train: Window
    hold_out: Window

    @property
    def known(self) -> Window:
        """All rows from the training window's start whose label is known at the cutoff."""
        return Window(self.train.start, self.hold_out.end)


def windows_before(cutoff: datetime, model: Model, label: Label) -> Windows:
    """The windows of the model of a cutoff.

    Labels are known `label.known_after` after their event, so the hold-out ends that long before the cutoff; and since
    a model in production is that much older than the rows it is judged on, training ends as long before the hold-out.
    """
    assert model.train_on is not None
    assert model.hold_out is not None
    hold_out = Window(cutoff - label.known_after - model.hold_out, cutoff - label.known_after)
    train_end = hold_out.start - label.known_after
    return Windows(train=Window(train_end - model.train_on, train_end), hold_out=hold_out)


def held_out_by_key(rows: pl.DataFrame, key: list[str], share: float) -> pl.Series:
    """A mask of about `share` of the rows, the same for a key whatever other rows are there.

    The key's bytes are hashed by SHA-256, which no library version changes.

    Raises:
        ValueError: a row has no key.
    """
    text = rows.select(pl.concat_str(pl.col(key).cast(pl.String), separator="\x1f")).to_series()
    limit = int(share * 2**32)
    if text.has_nulls():
        raise ValueError(
            f"{text.null_count()} rows have no value in {', '.join(key)}, which chooses the hold-out; give each one."
        )
    hashes = (int.from_bytes(sha256(value.encode()).digest()[:4]) for value in text)
    return pl.Series([value < limit for value in hashes], dtype=pl.Boolean)
