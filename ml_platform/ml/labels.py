"""The label of rows as a model learns it."""

from typing import TYPE_CHECKING, Any

import polars as pl

from ml_platform.use_case import UseCase

if TYPE_CHECKING:
    from numpy.typing import NDArray


def label_of(rows: pl.DataFrame, use_case: UseCase) -> pl.Series:
    """The label of each row: 1.0 for the positive value that is declared and 0.0 for any other, or as it stands.

    Raises:
        ValueError: the label is of another type than the positive value.
    """
    column, positive = rows[use_case.label.column], use_case.label.positive
    if positive is None:
        return column
    if (column.dtype == pl.String) != isinstance(positive, str):
        raise ValueError(
            f"the label {column.name} is {column.dtype} and label.positive is {positive!r}; write a value of the label."
        )
    return (column == positive).cast(pl.Float64)


def labels(rows: pl.DataFrame, use_case: UseCase) -> "NDArray[Any]":
    """The label of each row: 0.0 or 1.0, a class, or a value.

    Raises:
        ValueError: the label is text, and nothing says which number that is.
    """
    column = label_of(rows, use_case)
    if use_case.task == "multiclass_classification":
        return column.to_numpy()
    if column.dtype == pl.String:
        mend = "make it a number" if use_case.task == "regression" else "name the value that counts as 1"
        where = "in the transform" if use_case.task == "regression" else "in label.positive"
        raise ValueError(f"the label {column.name} is text; {mend} {where}.")
    return column.cast(pl.Float64).to_numpy()
