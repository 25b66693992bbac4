"""The Python files of a use case: its features where columns must be made, and its rows where they need a number."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from ml_platform.errors import UserError
from ml_platform.onboarding.columns import Found, number_written
from ml_platform.onboarding.data import Data
from ml_platform.onboarding.keys import Key
from ml_platform.onboarding.plan import Timing
from ml_platform.onboarding.target import Target
from ml_platform.onboarding.tasks import Labelling
from ml_platform.onboarding.templates import rendered
from ml_platform.use_case import FilesSource, SqlSource

ROW_NUMBER = "row_number"


def numbered_rows(
    source: FilesSource | SqlSource, data: Data, name: str, timing: Timing, key: Key
) -> tuple[str, dict[str, Any], Data, Key]:
    """A function that reads the rows with their number, and the data with it."""
    if not isinstance(source, FilesSource) or "*" in source.path or "{" in source.path:
        raise UserError(f"{key.reason}; name the columns that name a row with --key, each after its own --key.")
    when = None
    if timing.column:
        form = data.found[timing.column].format
        when = f"pl.col({json.dumps(timing.column)})"
        if data.raw.schema[timing.column] == pl.String:
            when += f".str.to_datetime({json.dumps(form)}, strict=False)" if form else ".str.to_datetime(strict=False)"
    values = {
        "name": name,
        "time": when,
        "row_number": ROW_NUMBER,
        "source": source.model_dump(mode="json", exclude_defaults=True),
    }
    numbers = pl.int_range(1, data.raw.height + 1, eager=True).alias(ROW_NUMBER)
    numbered = replace(
        data,
        raw=data.raw.with_columns(numbers),
        typed=data.typed.with_columns(numbers),
        found=data.found | {ROW_NUMBER: Found(ROW_NUMBER, "int64")},
    )
    reason = f"{key.reason}: rows.py numbers the rows of the file"
    return (
        *(rendered("rows.py.j2", values), {"type": "python", "function": ".rows:read"}),
        *(numbered, Key((ROW_NUMBER,), 0, reason)),
    )


def features_code(name: str, target: Target, labelling: Labelling, data: Data) -> str | None:
    """The text of features.py, or None where the validated columns are the features."""
    numbers = [
        (f"{number_written(one.name, one.decimal)}", f"numbers, written like {data.raw[one.name].drop_nulls()[0]}")
        for one in data.found.values()
        if one.decimal and one.name != target.column
    ]
    label = [(labelling.expression, f"the label: {labelling.reason}")] if labelling.expression else []
    if not (label or numbers):
        return None
    what = " and ".join([*(["the label"] if label else []), *(["numbers made of text"] if numbers else [])])
    return rendered("features.py.j2", {"name": name, "what": what, "expressions": [*label, *numbers]})


def built(code: str | None, typed: pl.DataFrame) -> pl.DataFrame:
    """The rows as the written features.py makes them."""
    if code is None:
        return typed
    with TemporaryDirectory() as folder:
        file = Path(folder) / "features.py"
        file.write_text(code, encoding="utf-8")
        spec = importlib.util.spec_from_file_location("drafted_features", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    rows: pl.DataFrame = module.build(typed)
    return rows
