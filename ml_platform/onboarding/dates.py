"""How dates are written in text: which formats fit, told apart by evidence."""

import polars as pl

from ml_platform.errors import UserError

DAYS = (
    *("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%Y", "%m.%d.%Y", "%d/%m/%y", "%m/%d/%y", "%d.%m.%y"),
    *("%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y"),
)
TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
FIRST, LAST = pl.date(1900, 1, 1), pl.date(2100, 1, 1)
LOOKED_AT = 500
FITS = 0.95


def formats_of(texts: pl.Series) -> list[str]:
    """The formats that fit at least 95 % of texts best; several where they read other days in them."""
    head = texts.head(LOOKED_AT)
    likely = [day + time for day in DAYS for time in TIMES if _share(head, day + time) >= FITS]
    shares = {one: _share(texts, one) for one in likely}
    best = max(shares.values(), default=0.0)
    readings: dict[str, pl.Series] = {}
    for one in (one for one, share in shares.items() if share == best and share >= FITS):
        moments = texts.str.to_datetime(one, strict=False)
        if not any(moments.equals(other) for other in readings.values()):
            readings[one] = moments
    return list(readings)


def has_time(texts: pl.Series) -> bool:
    """Whether texts in the ISO format say more than a day."""
    return bool(texts.str.contains(r"^\S{10}[T ]").any())


def decided(columns: dict[str, list[str]], given: str | None) -> dict[str, str]:
    """One format for each column, by `given` or by how other columns with the same separator are written.

    Raises:
        UserError: a column can be read in two ways and nothing tells which is right.
    """
    chosen = {name: fitting[0] for name, fitting in columns.items() if len(fitting) == 1}
    for name, fitting in columns.items():
        if name in chosen:
            continue
        alike = {one for one in fitting if any(one[:5] == other[:5] for other in chosen.values())}
        if given in fitting:
            alike = {str(given)}
        if len(alike) != 1:
            both = " or ".join(f"'{one}'" for one in fitting)
            raise UserError(
                f"'{name}' can be read as {both}: both fit every row; say which is right, such as "
                f"--date-format {fitting[0]!r}."
            )
        chosen[name] = alike.pop()
    return chosen


def _share(texts: pl.Series, form: str) -> float:
    """The share of texts that a format reads as a moment of 1900 to 2100."""
    if form == "%Y%m%d" and not texts.str.contains(r"^\d{8}$").all():
        return 0.0
    moment = texts.str.to_datetime(form, strict=False)
    return float(moment.to_frame("at").select(pl.col("at").is_between(FIRST, LAST).sum()).item()) / max(1, len(texts))
