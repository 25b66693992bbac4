"""The folder of a stored model, read without MLflow and without running code of it."""

import json
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_platform.resources.trusted_types import TRUSTED_TYPES

if TYPE_CHECKING:
    from ml_platform.ml.training import TrainedModel

MODEL_FILE = "model.skops"
DESCRIPTION_FILE = "MLmodel"
DESCRIBED = ("task", "columns", "run_id", "threshold", "params")


def read_model(folder: Path) -> "TrainedModel":
    """The model in a folder, made only of types that skops or this package trusts.

    Raises:
        skops.io.exceptions.UntrustedTypesFoundException: the file asks for another type; nothing of it was run.
    """
    import skops.io

    # here: the process of the registry, which knows the names of the files, does without polars
    from ml_platform.ml.training import TrainedModel

    described = _described(folder)
    pipeline = skops.io.load(folder / MODEL_FILE, trusted=list(TRUSTED_TYPES))
    return TrainedModel(pipeline=pipeline, **{**described, "columns": tuple(described["columns"])})


def model_digest(folder: Path) -> str:
    """The SHA-256 of all that `read_model` takes from a folder: the pipeline's file, and what the description says."""
    with (folder / MODEL_FILE).open("rb") as file:
        digest = file_digest(file, "sha256")
    # its values and not its bytes: MLflow may write more into the description, or write it anew
    digest.update(json.dumps(_described(folder), sort_keys=True, default=str).encode())
    return digest.hexdigest()


def is_model(folder: Path, digest: str) -> bool:
    """Whether a folder has the model of a digest."""
    import yaml

    try:
        return model_digest(folder) == digest
    except (FileNotFoundError, KeyError, TypeError, ValueError, yaml.YAMLError):  # they are no files of a model
        return False


def _described(folder: Path) -> dict[str, Any]:
    import yaml

    described = yaml.safe_load((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))["metadata"]
    return {name: described[name] for name in DESCRIBED}
