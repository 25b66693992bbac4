"""The dataframe types that functions may take and return, converted to and from polars."""

import inspect
from collections.abc import Callable
from typing import Any

import polars as pl

FRAMES = ("polars.DataFrame", "polars.LazyFrame", "pandas.DataFrame", "pyarrow.Table")


def kind(frame_type: Any) -> str:
    """The public name of a frame's type, such as `pandas.DataFrame`; an annotation that is no class as written."""
    if not isinstance(frame_type, type):
        return str(frame_type)
    return f"{frame_type.__module__.partition('.')[0]}.{frame_type.__name__}"


def to_polars(value: object, what: str) -> pl.DataFrame:
    """A frame of any of the four types as a polars DataFrame.

    Raises:
        TypeError: `value` is none of them; `what` names where it came from.
    """
    match kind(type(value)), value:
        case "polars.DataFrame", pl.DataFrame() as frame:
            return frame
        case "polars.LazyFrame", pl.LazyFrame() as frame:
            return frame.collect()
        case ("pandas.DataFrame" | "pyarrow.Table") as name, _:
            convert: Callable[[Any], Any] = pl.from_pandas if name.startswith("pandas") else pl.from_arrow
            index: Any = getattr(value, "index", None)
            if any(getattr(index, "names", ())):
                raise TypeError(f"{what} has the index {list(index.names)}; reset_index() makes columns of it.")
            try:
                converted = convert(value)
            except (TypeError, ValueError) as error:  # pyarrow's are these
                raise TypeError(f"{what} cannot be read: {error}; give each column one type.") from error
            assert isinstance(converted, pl.DataFrame)
            return converted
        case name, _:
            raise TypeError(f"{what} is a {name}; it must be one of {', '.join(FRAMES)}.")


def wanted_frame(function: Callable[..., Any]) -> type:
    """The type of frame that a function's first parameter is annotated with; a polars DataFrame where it is not."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    annotation: Any = next((parameter.annotation for parameter in parameters), inspect.Parameter.empty)
    return pl.DataFrame if annotation is inspect.Parameter.empty else annotation


def from_polars(frame: pl.LazyFrame, wanted: type, what: str) -> Any:
    """A lazy polars frame as the type that a function's annotation asks for.

    Raises:
        TypeError: `wanted` is no type of frame; `what` names who asked.
    """
    match kind(wanted):
        case "polars.LazyFrame":
            return frame
        case "polars.DataFrame":
            return frame.collect()
        case "pandas.DataFrame":
            return _to_pandas(frame.collect())
        case "pyarrow.Table":
            return frame.collect().to_arrow()
        case name:
            raise TypeError(f"{what} is annotated {name}; annotate one of {', '.join(FRAMES)}.")


def _to_pandas(frame: pl.DataFrame) -> Any:
    """A pandas frame in which integers with missing values stay integers: as floats the large ones would change."""
    import pandas as pd

    gaps = [name for name, dtype in frame.schema.items() if dtype.is_integer() and frame[name].has_nulls()]
    return frame.to_pandas().assign(**{name: pd.Series(frame[name].to_list(), dtype="Int64") for name in gaps})
