"""A Dagster asset-centric machine-learning platform: one YAML file, one gated, tracked, reproducible model."""

from typing import Any


def __getattr__(name: str) -> Any:
    """`load` and `load_model`; importing the package alone imports nothing of theirs."""
    if name not in __dir__():
        raise AttributeError(f"module 'ml_platform' has no attribute '{name}'")
    from ml_platform import notebooks

    return getattr(notebooks, name)


def __dir__() -> list[str]:
    return ["load", "load_model"]
