"""Use cases for tests: a tiny one on daily data, and what a test changes of it."""

from typing import Any

from ml_platform.use_case import UseCase

TINY: dict[str, Any] = {
    "name": "tiny",
    "task": "binary_classification",
    "source": {"type": "files", "path": "data/{partition}.csv", "format": "csv"},
    "partitions": {"every": "day", "start": "2024-01-01", "end": "2024-02-01"},
    "contract": {
        "key": ["id"],
        "event_time": "at",
        "columns": {
            "id": {"type": "int64"},
            "at": {"type": "datetime"},
            "amount": {"type": "float64"},
            "city": {"type": "string"},
            "fraud": {"type": "int64", "one_of": [0, 1]},
        },
    },
    "label": {"column": "fraud", "known_after": "1 day"},
    "model": {
        "every": "day",
        "train_on": "3 days",
        "hold_out": "2 days",
        "estimator": "sklearn.linear_model.LogisticRegression",
    },
    "registry": {"name": "tiny"},
}


def use_case(**changes: Any) -> UseCase:
    """The tiny use case, changed: `use_case(partitions="none", model={"threshold": 0.3})`.

    A block is changed key by key, but replaced as a whole by one with a `type`; None takes a key away.
    """
    return UseCase.model_validate(attributes(**changes))


def attributes(**changes: Any) -> dict[str, Any]:
    """The same as the attributes of its YAML file, not validated."""
    return _changed(TINY, changes)


def _changed(block: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    changed = dict(block)
    for key, value in changes.items():
        merges = isinstance(value, dict) and isinstance(block.get(key), dict) and "type" not in value
        changed[key] = _changed(block[key], value) if merges else value
    return {key: value for key, value in changed.items() if value is not None}
