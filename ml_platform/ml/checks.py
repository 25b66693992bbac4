"""Checks on the rows of one partition: how many there are, how many repeat a key, and the user's own."""

from collections.abc import Sequence
from statistics import median

import polars as pl

from ml_platform import references
from ml_platform.ml.frames import from_polars, wanted_frame
from ml_platform.use_case import Check, Volume

USUAL_OF = 28
USUAL_FROM = 7


def volume_problem(rows: int, before: Sequence[int], volume: Volume) -> str | None:
    """Why a number of validated rows is out of bounds, as a sentence, or None where it is not.

    `before` holds the numbers of rows of the published partitions before, the newest last.
    """
    found = f"{rows} rows keep the contract"
    if volume.at_least is not None and rows < volume.at_least:
        return (
            f"{found}, at least {volume.at_least} must; look for rows that the source left out, "
            "or lower contract.volume.at_least."
        )
    if volume.at_most is not None and rows > volume.at_most:
        return (
            f"{found}, at most {volume.at_most} may; look for rows that the source gave too many, "
            "or raise contract.volume.at_most."
        )
    if volume.of_usual is None or len(before) < USUAL_FROM:
        return None
    recent = before[-USUAL_OF:]
    usual = median(recent)
    fewer, more = sorted((rows, usual))
    if fewer >= more or fewer / more >= volume.of_usual:  # the ratio: a product would miss the bound by a rounding
        return None
    limit, verb = (
        (f"at least {100 * volume.of_usual:g}% of", "must")
        if rows < usual
        else (f"at most {1 / volume.of_usual:g} times", "may")
    )
    return (
        f"{found}, {limit} the usual {usual:.12g} {verb} (the median of {len(recent)} partitions before); "
        "look at the source, or lower contract.volume.of_usual."
    )


def duplicates_problem(raw_rows: int, repeated: int, at_most: float) -> str | None:
    """Why too many of a partition's raw rows repeat the key of a row before them, or None where not too many do."""
    if raw_rows == 0 or repeated / raw_rows <= at_most:
        return None
    return (
        f"{repeated} of {raw_rows} rows repeat a key ({repeated / raw_rows:.1%}, at most {at_most:.1%} may); "
        "look at quarantine, deliver each row once or correct contract.key."
    )


def custom_problem(rows: pl.DataFrame, check: Check) -> str | None:
    """What the user's function finds wrong with the rows of one partition, or None where all is well.

    Raises:
        TypeError: the function's annotation is no type of frame, or its result neither None nor a sentence.
    """
    function = references.load(check.function)
    problem = function(from_polars(rows.lazy(), wanted_frame(function), check.function), **check.arguments)
    if problem is None or (isinstance(problem, str) and problem.strip()):
        return problem
    given = "an empty text" if isinstance(problem, str) else f"a value of type {type(problem).__name__}"
    raise TypeError(
        f"{check.function} returned {given}; return None if all is well, else a sentence that says what is wrong."
    )
