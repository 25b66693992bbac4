"""The tracking server: runs, and the models that lie in them."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import dagster as dg

from ml_platform.errors import UserError
from ml_platform.ml.preprocessing import matrix
from ml_platform.ml.report import Interval
from ml_platform.ml.training import TrainedModel
from ml_platform.partitions import accepted_previews
from ml_platform.resources.alive import is_alive, kept_alive
from ml_platform.resources.dagster_ui import WEBSERVER, run_page
from ml_platform.resources.mlflow_server import MOST_TOLD, UI, is_server
from ml_platform.resources.model_files import is_model, model_digest, read_model
from ml_platform.resources.registry import CUTOFF_TAG, DIGEST_TAG, USE_CASE_TAG, Registry, StoredModel
from ml_platform.resources.trusted_types import TRUSTED_TYPES

if TYPE_CHECKING:
    import polars as pl

MODEL_TAG, DATA_VERSION_TAG = "published_model", "data_version"
EVALUATION, IMPORTANCE = "evaluation", "evaluation/importance.json"
LOGGED_MODEL = "models:/m-"  # how the address of a model begins that lies in a run
REQUIREMENTS = ("scikit-learn", "skops", "pandas", "numpy", "scipy")
DAGSTER_RUN_TAG, PARENT_TAG = "dagster_run_id", "mlflow.parentRunId"
REFUSED_TAG = "refused"  # why a model is not published


class ChangedModelError(UserError, ValueError):
    """The files of a model are not those that were stored."""


@dataclass(frozen=True)
class RunRecord:
    """What a run holds; `began` is in seconds since the epoch."""

    run_id: str
    began: float
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class RunContext:
    """The Dagster run that a model is made in, as far as the tracking server is told of it."""

    instance: dg.DagsterInstance
    run: dg.DagsterRun
    log: Any

    @classmethod
    def of(cls, context: dg.AssetExecutionContext) -> "RunContext":
        """That of a step."""
        return cls(context.instance, context.run, context.log)


class Tracking(Registry, dg.ConfigurableResource):  # type: ignore[type-arg]
    """Runs and their models in MLflow, and the registry of versions.

    `webserver` is the address of Dagster's UI, for links, and `ui` that of MLflow's where it is not the server itself.
    """

    uri: str
    artifacts: str
    webserver: str = WEBSERVER
    ui: str = UI

    def dagster_page(self, run_id: str) -> str:
        """The page of a Dagster run."""
        return run_page(self.webserver, run_id)

    @contextmanager
    def run(
        self,
        context: dg.AssetExecutionContext | RunContext,
        use_case: str,
        cutoff: str,
        *,
        began: float | None = None,
        parent: str | None = None,
    ) -> Iterator[Any]:
        """A new run of one cutoff through dagster-mlflow's resource; FINISHED or FAILED at the end, as it went.

        The run and the Dagster run name each other. The resource has MLflow's logging functions. `began` is when the
        work began that it is about, in seconds since the epoch, and `parent` the run that it belongs to.
        """
        mlflow = self._mlflow()
        tags = {USE_CASE_TAG: use_case, CUTOFF_TAG: cutoff, **({PARENT_TAG: parent} if parent else {})}
        name = f"{use_case} {cutoff}".strip()
        start = None if began is None else int(began * 1000)
        run = mlflow.MlflowClient().create_run(self._experiment(use_case), start, tags, name)
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
            with kept_alive(context.instance, context.run.run_id):
                yield resource
            status = "FINISHED"
        finally:
            resource.end_run(status)

    def end_unfinished(self, use_case: str, instance: dg.DagsterInstance) -> list[str]:
        """End as KILLED the runs that were left RUNNING by Dagster runs that are no more; the runs' ids."""
        client = self._mlflow().MlflowClient()
        left = client.search_runs(
            [self._experiment(use_case)], f"attributes.status = 'RUNNING' and tags.`{DAGSTER_RUN_TAG}` LIKE '%'"
        )
        dead = [run.info.run_id for run in left if not is_alive(instance, run.data.tags[DAGSTER_RUN_TAG])]
        # one that ended by itself while it was looked at keeps its status; after its process nobody changes it
        killed = [run_id for run_id in dead if client.get_run(run_id).info.status == "RUNNING"]
        for run_id in killed:
            client.set_terminated(run_id, "KILLED")
        return killed

    def store_model(self, model: TrainedModel, example: "pl.DataFrame", name: str = "model") -> StoredModel:
        """Store a model in its run, which must be open, with signature and input example.

        The run keeps the digest of the model's files, as they can be read from then on.
        """
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
                metadata={
                    "task": model.task,
                    "columns": list(model.columns),
                    "run_id": model.run_id,
                    "threshold": model.threshold,
                    "params": dict(model.params),
                },
            )
        address = str(stored.model_uri)
        with self.downloaded(address) as folder:
            self.set_tag(model.run_id, DIGEST_TAG, model_digest(folder))
        return StoredModel(model.run_id, address)

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
            of_cutoff = f" of cutoff {cutoff}" if cutoff else ""
            raise LookupError(f"{use_case} has no model{of_cutoff}; materialize model first.")
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
            ChangedModelError: its files are not those that were stored; nothing of them was read as a model.
            skops.io.exceptions.UntrustedTypesFoundException: the file asks for another type; nothing of it was run.
        """
        run = self._run_of_model(address)
        digest = None if run is None else run.data.tags.get(DIGEST_TAG)  # none of models stored by earlier versions
        with self.downloaded(address) as folder:
            if digest is not None and not is_model(folder, digest):
                raise ChangedModelError(self._changed(address, run.info.run_id))
            return read_model(folder)

    def log_trial(
        self,
        parent_run_id: str,
        use_case: str,
        number: int,
        params: Mapping[str, Any],
        metric: str,
        value: float | None,
        seconds: float,
        dagster_run: str,
        failure: str | None = None,
    ) -> None:
        """Record a trial of a search as a child of a run: FINISHED, or FAILED where it has no value; it is no model.

        `failure` says why it has none.
        """
        from mlflow.entities import Param
        from mlflow.utils.time import get_current_time_millis

        client = self._mlflow().MlflowClient()
        tags = {USE_CASE_TAG: use_case, PARENT_TAG: parent_run_id, DAGSTER_RUN_TAG: dagster_run}
        if failure is not None:
            tags["failure"] = failure[:MOST_TOLD]
        start = get_current_time_millis() - round(1000 * seconds)
        run = client.create_run(self._experiment(use_case), start_time=start, run_name=f"trial {number}", tags=tags)
        status = "FAILED"
        try:
            client.log_batch(
                run.info.run_id,
                metrics=[] if value is None else [self._metric(metric, value)],
                params=[Param(f"params.{name}", str(one)) for name, one in params.items()],
            )
            status = "FAILED" if value is None else "FINISHED"
        finally:
            client.set_terminated(run.info.run_id, status)

    def log_evaluation(
        self,
        run_id: str,
        metrics: Mapping[str, float],
        pictures: Mapping[str, bytes],
        importance: Mapping[str, Interval],
    ) -> None:
        """Add metrics, PNG pictures and the importance of features to a run that has ended."""
        client = self._mlflow().MlflowClient()
        client.log_dict(run_id, {name: asdict(one) for name, one in importance.items()}, IMPORTANCE)
        client.log_batch(run_id, metrics=[self._metric(name, value) for name, value in metrics.items()])
        with TemporaryDirectory() as folder:
            for name, picture in pictures.items():
                (Path(folder) / f"{name}.png").write_bytes(picture)
            client.log_artifacts(run_id, folder, EVALUATION)

    def importance_of(self, run_id: str) -> dict[str, Interval] | None:
        """The importance of features for the model of a run, None before its evaluation."""
        files = self._mlflow().MlflowClient().list_artifacts(run_id, EVALUATION)
        if IMPORTANCE not in {file.path for file in files}:
            return None
        return {name: Interval(**values) for name, values in self.read_json(run_id, IMPORTANCE).items()}

    def run_of(self, run_id: str) -> RunRecord:
        """A run by its id."""
        found = self._mlflow().MlflowClient().get_run(run_id)
        data = found.data
        return RunRecord(run_id, found.info.start_time / 1000, data.tags, data.params, data.metrics)

    def read_json(self, run_id: str, name: str) -> Any:
        """A JSON file of a run."""
        return self._mlflow().artifacts.load_dict(f"runs:/{run_id}/{name}")

    def read_text(self, run_id: str, name: str) -> str:
        """A text file of a run."""
        return str(self._mlflow().artifacts.load_text(f"runs:/{run_id}/{name}"))

    def log_text(self, run_id: str, text: str, name: str) -> str:
        """Add a text file to a run, whether it has ended or not; where it is seen: in the server's UI, or the file."""
        client = self._mlflow().MlflowClient()
        client.log_text(run_id, text, name)
        if is_server(self.uri):
            return self.mlflow_page(run_id, name)
        return f"{client.get_run(run_id).info.artifact_uri}/{name}"

    def mlflow_page(self, run_id: str, name: str) -> str:
        """The page of MLflow's UI on a file of a run."""
        ui = self.address if is_server(self.uri) else self.ui
        experiment = self._mlflow().MlflowClient().get_run(run_id).info.experiment_id
        return f"{ui.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}/artifacts/{name}"

    def set_tag(self, run_id: str, name: str, value: str) -> None:
        """Set a tag of a run, whether it has ended or not."""
        self._mlflow().MlflowClient().set_tag(run_id, name, value)

    def refuse(self, run_id: str, reason: str) -> None:
        """Let a run that has ended be FAILED, for a reason that the tag `refused` says."""
        client = self._mlflow().MlflowClient()
        client.set_tag(run_id, REFUSED_TAG, reason)
        client.set_terminated(run_id, "FAILED")

    def _run_of_model(self, address: str) -> Any:
        """The run that a model was stored in, as the tracking server has it and not the model's files, or None."""
        if not address.startswith(LOGGED_MODEL):
            return None
        client = self._mlflow().MlflowClient()
        run_id = client.get_logged_model(address.removeprefix("models:/")).source_run_id
        return client.get_run(run_id) if run_id else None

    def _changed(self, address: str, run_id: str) -> str:
        found = self._mlflow().MlflowClient().search_model_versions(f"run_id = '{run_id}'")
        what, fix = "the model", "train it again"
        for one in found:
            if one.source == address:
                what, fix = f"version {one.version} of {one.name}", "roll back to another version, or train it again"
        return f"the files of {what}, run {run_id}, were changed since they were stored; {fix}."

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

    def _metric(self, name: str, value: float) -> Any:
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        return Metric(name, value, get_current_time_millis(), 0)

    def _experiment(self, name: str) -> str:
        mlflow = self._mlflow()
        with self._reached():
            found = mlflow.get_experiment_by_name(name)
            if found is None:
                try:
                    return str(mlflow.create_experiment(name, f"{self.artifacts}/{name}" if self.artifacts else None))
                except mlflow.exceptions.MlflowException:
                    found = mlflow.get_experiment_by_name(name)
                    if found is None:  # so it was not another process that was first
                        raise
        return str(found.experiment_id)
