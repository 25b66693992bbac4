"""Imports that the model's stages will need, done in the background while the tables are computed."""

from collections.abc import Iterable
from importlib import import_module
from threading import Thread

HEAVY = ("sklearn.compose", "sklearn.impute", "skops.io", "mlflow.sklearn", "matplotlib.figure")


def warm_up(modules: Iterable[str] = HEAVY) -> None:
    """Start importing modules; whoever needs one before it is there waits for it as for any import."""
    Thread(target=lambda: [import_module(name) for name in modules], daemon=True).start()
