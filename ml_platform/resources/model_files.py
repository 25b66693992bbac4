"""The folder of a stored model, read without MLflow and without running code of it."""

from pathlib import Path

from ml_platform.ml.training import TrainedModel
from ml_platform.resources.trusted_types import TRUSTED_TYPES

MODEL_FILE = "model.skops"
DESCRIPTION_FILE = "MLmodel"


def read_model(folder: Path) -> TrainedModel:
    """The model in a folder, made only of types that skops or this package trusts.

    Raises:
        skops.io.exceptions.UntrustedTypesFoundException: the file asks for another type; nothing of it was run.
    """
    import skops.io
    import yaml

    described = yaml.safe_load((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))["metadata"]
    pipeline = skops.io.load(folder / MODEL_FILE, trusted=list(TRUSTED_TYPES))
    more = {name: described[name] for name in ("task", "run_id", "threshold", "params")}
    return TrainedModel(pipeline=pipeline, columns=tuple(described["columns"]), **more)
