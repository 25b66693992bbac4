"""The tracking server and model registry: the one place that imports mlflow and dagster_mlflow."""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dagster as dg

from ml_platform.ml.training import TrainedModel, matrix
from ml_platform.partitions import accepted_previews
from ml_platform.resources.trusted_types import TRUSTED_TYPES

if TYPE_CHECKING:
    import polars as pl

CHAMPION = "champion"
USE_CASE_TAG, CUTOFF_TAG, MODEL_TAG, DATA_VERSION_TAG = "use_case", "cutoff", "published_model", "data_version"
REQUIREMENTS = ("scikit-learn", "skops", "pandas", "numpy")
MODEL_FILE = "model.skops"
SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Version:
    """A registered version of a model."""

    name: str
    number: int
    run_id: str
    cutoff: str
    address: str


@dataclass(frozen=True)
class StoredModel:
    """A model that lies in its run: readers find it once it is published."""

    run_id: str
    address: str


class Tracking(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Runs, models and versions in MLflow; `artifacts` is the address below which it stores files."""

    uri: str
    artifacts: str

    @contextmanager
    def run(self, context: dg.AssetExecutionContext, use_case: str, cutoff: str) -> Iterator[Any]:
        """A new run of one cutoff through dagster-mlflow's resource; FINISHED or FAILED at the end, as it went.

        The run and the Dagster run name each other. The resource has MLflow's logging functions.
        """
        mlflow = self._mlflow()
        tags = {USE_CASE_TAG: use_case, CUTOFF_TAG: cutoff}
        name = f"{use_case} {cutoff}".strip()
        run = mlflow.MlflowClient().create_run(self._experiment(use_case), run_name=name, tags=tags)
        settings = {"experiment_name": use_case, "mlflow_tracking_uri": self.uri, "mlflow_run_id": run.info.run_id}
        with accepted_previews():
            from dagster_mlflow.resources import MlFlow

            # the resource names its run after the Dagster job, which is the same for all assets
            named = SimpleNamespace(job_name=name)
            mlflow.set_experiment(use_case)
            mlflow.start_run(run_id=run.info.run_id, nested=True)
            resource = MlFlow(
                SimpleNamespace(log=context.log, dagster_run=named, run_id=context.run.run_id, resource_config=settings)
            )
        status = "FAILED"
        try:
            yield resource
            status = "FINISHED"
        finally:
            resource.end_run(status)

    def store_model(self, model: TrainedModel, example: "pl.DataFrame", name: str = "model") -> StoredModel:
        """Store a model in its run, which must be open, with signature and input example."""
        mlflow = self._mlflow()
        from mlflow.models import infer_signature

        inputs = matrix(example, model.columns)
        served = "predict" if model.task == "regression" else "predict_proba"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mlflow's warnings here are about its own defaults
            stored = mlflow.sklearn.log_model(
                model.pipeline,
                name=name,
                serialization_format="skops",
                skops_trusted_types=list(TRUSTED_TYPES),
                signature=infer_signature(inputs, getattr(model.pipeline, served)(inputs)),
                input_example=inputs,
                pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
                pyfunc_predict_fn=served,
                metadata={"task": model.task, "columns": list(model.columns), "run_id": model.run_id},
            )
        return StoredModel(model.run_id, str(stored.model_uri))

    def publish_model(self, stored: StoredModel, data_version: str | None = None) -> None:
        """Make a stored model the one that its cutoff's readers find."""
        client = self._mlflow().MlflowClient()
        if data_version is not None:  # first: a reader looks only at models that are published
            client.set_tag(stored.run_id, DATA_VERSION_TAG, data_version)
        client.set_tag(stored.run_id, MODEL_TAG, stored.address)

    def model_of(self, use_case: str, cutoff: str) -> StoredModel:
        """The newest published model of a cutoff.

        Raises:
            LookupError: no model was published for this cutoff.
        """
        found = self._published_run(use_case, cutoff)
        if found is None:
            raise LookupError(f"{use_case} has no model of cutoff '{cutoff}'; materialize its model first.")
        return StoredModel(found.info.run_id, found.data.tags[MODEL_TAG])

    def data_versions(self, use_case: str, cutoffs: Sequence[str | None]) -> dict[str | None, str]:
        """The data version of the newest published model of each of these cutoffs; None has the empty cutoff."""
        runs = {cutoff: self._published_run(use_case, cutoff or "") for cutoff in cutoffs}
        return {
            cutoff: run.data.tags[DATA_VERSION_TAG]
            for cutoff, run in runs.items()
            if run is not None and DATA_VERSION_TAG in run.data.tags
        }

    def load_model(self, address: str) -> TrainedModel:
        """A stored model, made only of types that skops or this package trusts.

        Raises:
            skops.io.exceptions.UntrustedTypesFoundException: the file asks for another type; nothing of it was run.
        """
        mlflow = self._mlflow()
        import skops.io

        folder = mlflow.artifacts.download_artifacts(address)
        described = mlflow.models.Model.load(folder).metadata
        pipeline = skops.io.load(Path(folder) / MODEL_FILE, trusted=list(TRUSTED_TYPES))
        return TrainedModel(pipeline, described["task"], tuple(described["columns"]), described["run_id"])

    def log_evaluation(self, run_id: str, metrics: Mapping[str, float], pictures: Mapping[str, bytes]) -> None:
        """Add metrics and PNG pictures to a run that has ended."""
        client = self._mlflow().MlflowClient()
        client.log_batch(run_id, metrics=[self._metric(name, value) for name, value in metrics.items()])
        with TemporaryDirectory() as folder:
            for name, picture in pictures.items():
                (Path(folder) / f"{name}.png").write_bytes(picture)
            client.log_artifacts(run_id, folder, "evaluation")

    def register(self, name: str, stored: StoredModel, tags: Mapping[str, str]) -> Version:
        """The registered version of a stored model: a new one, or the one it already has."""
        mlflow = self._mlflow()
        client = mlflow.MlflowClient()
        try:
            client.create_registered_model(name)
        except mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        known = [one for one in client.search_model_versions(f"name = '{name}'") if one.source == stored.address]
        found = known[0] if known else client.create_model_version(name, stored.address, stored.run_id, tags=dict(tags))
        return self._version(found)

    def champion(self, name: str) -> Version | None:
        """The version with the alias `champion`, or None where there is none yet."""
        mlflow = self._mlflow()
        try:
            return self._version(mlflow.MlflowClient().get_model_version_by_alias(name, CHAMPION))
        except mlflow.exceptions.MlflowException as error:
            if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                raise
            return None

    def crown(self, version: Version) -> None:
        """Give a version the alias `champion`; the version that had it loses it in the same step."""
        self._mlflow().MlflowClient().set_registered_model_alias(version.name, CHAMPION, str(version.number))

    def _published_run(self, use_case: str, cutoff: str) -> Any:
        """The newest run of a cutoff whose model is published, or None."""
        tags = {USE_CASE_TAG: use_case, CUTOFF_TAG: cutoff}
        conditions = [
            *(f"tags.`{tag}` = '{value}'" for tag, value in tags.items()),
            f"tags.`{MODEL_TAG}` LIKE 'models:%'",
        ]
        found = (
            self._mlflow()
            .MlflowClient()
            .search_runs(
                [self._experiment(use_case)],
                " and ".join(conditions),
                order_by=["attributes.start_time DESC"],
                max_results=1,
            )
        )
        return found[0] if found else None

    def _version(self, found: Any) -> Version:
        return Version(found.name, int(found.version), found.run_id, found.tags.get(CUTOFF_TAG, ""), found.source)

    def _metric(self, name: str, value: float) -> Any:
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        return Metric(name, value, get_current_time_millis(), 0)

    def _experiment(self, name: str) -> str:
        mlflow = self._mlflow()
        found = mlflow.get_experiment_by_name(name)
        return str(found.experiment_id if found else mlflow.create_experiment(name, f"{self.artifacts}/{name}"))

    def _mlflow(self) -> Any:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        if self.uri.startswith(SQLITE):
            _make_database(Path(self.uri.removeprefix(SQLITE)), self.artifacts)
        mlflow.set_tracking_uri(self.uri)
        return mlflow


def _make_database(file: Path, artifacts: str) -> None:
    """Make MLflow's database, whole or not at all: MLflow cannot mend one that was left half-made, or made by two."""
    if file.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{uuid4()}")
    SqlAlchemyStore(f"{SQLITE}{unfinished}", artifacts).engine.dispose()
    with suppress(FileExistsError):  # another process was first
        os.link(unfinished, file)
    unfinished.unlink()
