"""Recipes kept by their digest, so that what has changed since a partition was computed can be named."""

import json
from dataclasses import asdict

from upath import UPath

from ml_platform.fingerprints import Recipe
from ml_platform.resources.lake import Lake, put


def save(lake: Lake, recipe: Recipe) -> None:
    """Keep a recipe."""
    file = _file(lake, recipe.digest)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        put(file, json.dumps(asdict(recipe)).encode())


def load(lake: Lake, digest: str) -> Recipe:
    """The recipe of a digest.

    Raises:
        FileNotFoundError: it was never kept.
    """
    return Recipe(**json.loads(_file(lake, digest).read_text()))


def _file(lake: Lake, digest: str) -> UPath:
    return UPath(lake.root, **lake.storage_options) / "recipes" / f"{digest}.json"
