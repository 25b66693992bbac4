"""The four types of frames, there and back, and what is said to a type that is none of them."""

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ml_platform.ml.frames import FRAMES, from_polars, kind, to_polars, wanted_frame

ROWS = pl.DataFrame(
    {
        "number": [1, 2, 2**53 + 1],
        "share": [0.5, None, -1.0],
        "city": ["Ghent", None, "Liège"],
        "flag": [True, None, False],
        "at": [datetime(2024, 1, 1, 12), None, datetime(1969, 7, 20)],
    }
)


def frame_types() -> list[type]:
    import pandas as pd
    import pyarrow as pa

    return [pl.DataFrame, pl.LazyFrame, pd.DataFrame, pa.Table]


def test_the_four_types_have_public_names() -> None:
    assert tuple(map(kind, frame_types())) == FRAMES


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_is_the_same_there_and_back(name: str) -> None:
    wanted = dict(zip(FRAMES, frame_types(), strict=True))[name]
    there = from_polars(ROWS.lazy(), wanted, "build")
    assert isinstance(there, wanted)
    assert_frame_equal(to_polars(there, "build"), ROWS)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.none() | st.text(), st.none() | st.floats(allow_nan=False), st.integers(-(2**63), 2**63 - 1)))
)
def test_pandas_gives_back_what_it_was_given(rows: list[tuple[str | None, float | None, int]]) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.Float64, "c": pl.Int64}, orient="row")
    wanted = frame_types()[2]
    assert_frame_equal(to_polars(from_polars(frame.lazy(), wanted, "f"), "f"), frame, check_dtypes=not frame.is_empty())


def test_pandas_gives_back_large_integers_with_a_missing_value() -> None:
    frame = pl.DataFrame({"value": [2**53 + 1, None]})
    assert_frame_equal(to_polars(from_polars(frame.lazy(), frame_types()[2], "f"), "f"), frame)


def test_a_lazy_frame_is_not_collected() -> None:
    lazy = pl.LazyFrame({"a": [1]})
    assert from_polars(lazy, pl.LazyFrame, "build") is lazy


def test_pandas_missing_values_are_null() -> None:
    import pandas as pd

    given = pd.DataFrame(
        {
            "float": [1.5, np.nan],
            "object": ["a", None],
            "nullable": pd.array([1, None], dtype="Int64"),
            "time": pd.to_datetime(["2024-01-01", None]),
            "category": pd.Categorical(["a", None]),
        }
    )
    frame = to_polars(given, "build")
    assert frame.null_count().row(0) == (1,) * 5
    assert frame["nullable"].dtype == pl.Int64


def test_a_pandas_index_is_refused_with_how_to_keep_it() -> None:
    import pandas as pd

    with pytest.raises(TypeError) as refusal:
        to_polars(pd.DataFrame({"id": [1], "a": [2]}).set_index("id"), "shop.features:build")
    assert str(refusal.value) == "shop.features:build has the index ['id']; reset_index() makes columns of it."


def test_a_pandas_time_zone_is_kept() -> None:
    import pandas as pd

    moments = pd.to_datetime(["2024-01-01 12:00"]).tz_localize("Europe/Brussels")
    frame = to_polars(pd.DataFrame({"at": moments}), "build")
    assert frame["at"].dt.convert_time_zone("UTC").dt.hour().to_list() == [11]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "builtins.NoneType"),
        ({"a": [1]}, "builtins.dict"),
        (pl.Series([1]), "polars.Series"),
        (np.zeros(3), "numpy.ndarray"),
    ],
)
def test_a_result_that_is_no_frame_is_refused_with_its_origin(value: object, name: str) -> None:
    with pytest.raises(TypeError) as refusal:
        to_polars(value, "The result of shop.features:build")
    assert str(refusal.value) == (
        f"The result of shop.features:build is a {name}; it must be one of "
        "polars.DataFrame, polars.LazyFrame, pandas.DataFrame, pyarrow.Table."
    )


@pytest.mark.parametrize(
    ("annotation", "name"), [(list, "builtins.list"), (pl.Series, "polars.Series"), (Any, "typing.Any")]
)
def test_an_annotation_that_is_no_frame_is_refused_with_its_function(annotation: Any, name: str) -> None:
    with pytest.raises(TypeError) as refusal:
        from_polars(ROWS.lazy(), annotation, "shop.features:build")
    assert str(refusal.value) == (
        f"shop.features:build is annotated {name}; annotate one of "
        "polars.DataFrame, polars.LazyFrame, pandas.DataFrame, pyarrow.Table."
    )


@pytest.mark.parametrize("annotation", [pl.DataFrame | pl.LazyFrame, None, "pl.DataFrame"], ids=str)
def test_an_annotation_that_is_no_class_is_refused_with_its_function(annotation: Any) -> None:
    with pytest.raises(TypeError, match=r"^shop\.features:build is annotated .*; annotate one of polars\.DataFrame"):
        from_polars(ROWS.lazy(), annotation, "shop.features:build")


def test_a_pandas_column_of_mixed_types_is_refused_with_its_origin() -> None:
    import pandas as pd

    with pytest.raises(TypeError, match=r"^The result of shop\.features:build .*'x'"):
        to_polars(pd.DataFrame({"code": [1, "x"]}), "The result of shop.features:build")


def test_the_frame_a_function_wants_is_its_first_annotation() -> None:
    def lazy(rows: pl.LazyFrame, other: int) -> None: ...

    def written(rows: "pl.LazyFrame") -> None: ...

    def silent(rows) -> None: ...  # type: ignore[no-untyped-def]

    def empty() -> None: ...

    assert [wanted_frame(function) for function in (lazy, written)] == [pl.LazyFrame] * 2
    assert [wanted_frame(function) for function in (silent, empty)] == [pl.DataFrame] * 2
