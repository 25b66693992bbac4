"""The model registry: versions, and the alias of the champion."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from ml_platform.errors import UserError
from ml_platform.resources.mlflow_server import MlflowServer, is_server
from ml_platform.resources.model_files import DESCRIPTION_FILE, MODEL_FILE, is_model

CHAMPION = "champion"
USE_CASE_TAG, CUTOFF_TAG = "use_case", "cutoff"
LEDGER_TAG, INPUTS_TAG, DIGEST_TAG = "ledger", "inputs", "model_sha256"
EVALUATED_TAG = "evaluated_run"  # of a version that was trained once more: the run of the model that was judged
ANSWERED = " answered"  # after the entry in the tag `ledger`
SHOWN_VERSIONS = 5
LARGEST = 2**31 - 1  # of the numbers that the column of MLflow's database holds; it fails on others


class UnknownVersionError(UserError):
    """The registry has no such version."""


class UnreadableTagError(UserError, ValueError):
    """A tag of a version is not what the platform wrote."""


class Mark(NamedTuple):
    """The newest entry of the ledger that the champion's alias follows; whether who ordered it has heard of that."""

    entry: str
    answered: bool = False


@dataclass(frozen=True)
class StoredModel:
    """A model that lies in its run: readers find it once it is published."""

    run_id: str
    address: str


@dataclass(frozen=True)
class Version:
    """A registered version of a model; its tags say what it was trained on."""

    name: str
    number: int
    run_id: str
    cutoff: str
    address: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def inputs(self) -> dict[str, str]:
        """The columns that the model takes by its signature, each `double` or `string`; none without one.

        Raises:
            UnreadableTagError: the tag that has them was changed.
        """
        try:
            return dict(json.loads(self.tags.get(INPUTS_TAG, "{}")))
        except (TypeError, ValueError):
            raise unreadable(self.name, [self], INPUTS_TAG) from None

    @property
    def judged_run_id(self) -> str:
        """The run of the model that was judged: its own, unless it was trained once more after that."""
        return self.tags.get(EVALUATED_TAG, self.run_id)


def unreadable(name: str, versions: Sequence[Version], tag: str) -> UnreadableTagError:
    """What to say of versions with the same tag, which is not the JSON that was written."""
    numbers = ", ".join(str(one.number) for one in versions)
    of = f"version{'s' if len(versions) > 1 else ''} {numbers} of {name}"
    return UnreadableTagError(
        f"the tag '{tag}' of {of} is not the JSON that was written, but '{versions[0].tags[tag]}'; restore it in "
        "MLflow, or train the model again."
    )


class Registry(MlflowServer):
    """Registered versions in MLflow."""

    def register(self, name: str, stored: StoredModel, tags: Mapping[str, str]) -> Version:
        """The registered version of a stored model: a new one, or the one it already has.

        Raises:
            ValueError: the model has no signature; nothing was registered.
        """
        mlflow = self._mlflow()
        client = mlflow.MlflowClient()
        inputs = self.inputs(stored.address)
        if not inputs:
            raise ValueError(f"the model of run {stored.run_id} has no signature; train it again.")
        try:
            client.create_registered_model(name)
        except mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        known = [one for one in client.search_model_versions(f"name = '{name}'") if one.source == stored.address]
        found = (
            known[0]
            if known
            else client.create_model_version(
                name,
                stored.address,
                stored.run_id,
                tags={**tags, INPUTS_TAG: json.dumps(inputs)},
                model_id=stored.address.removeprefix("models:/"),  # a tracking server takes no address without it
            )
        )
        return self._version(found)

    def champion(self, name: str) -> Version | None:
        """The version with the alias `champion`, or None where there is none yet.

        Raises:
            ConnectionError: the tracking server cannot be reached.
        """
        mlflow = self._mlflow()
        try:
            with self._reached():
                return self._version(self._registry().get_model_version_by_alias(name, CHAMPION))
        except mlflow.exceptions.MlflowException as error:
            if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                raise
            return None

    def crown(self, version: Version) -> None:
        """Give a version the alias `champion`; the version that had it loses it in the same step."""
        with self._reached():
            self._registry().set_registered_model_alias(version.name, CHAMPION, str(version.number))

    def version(self, name: str, number: int) -> Version:
        """A registered version.

        Raises:
            UnknownVersionError: there is no such version.
        """
        mlflow = self._mlflow()
        if number <= LARGEST:
            try:
                with self._reached():
                    return self._version(self._registry().get_model_version(name, str(number)))
            except mlflow.exceptions.MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
        known = [str(one.number) for one in self.versions(name)]
        there_are = f"the newest are {', '.join(known[-SHOWN_VERSIONS:])}" if known else "none was registered so far"
        there_is = f"the only one is {known[0]}" if len(known) == 1 else there_are
        raise UnknownVersionError(f"{name} has no version {number}; {there_is}.")

    def versions(self, name: str) -> list[Version]:
        """All registered versions of a model, the oldest first."""
        with self._reached():
            found = self._registry().search_model_versions(f"name = '{name}'", max_results=10_000)
        return sorted((self._version(one) for one in found), key=lambda one: one.number)

    def spoilt(self, version: Version) -> str | None:
        """What happened to the files of a version since they were stored, or None.

        They are looked at in folders of this machine only, and for a change where the version has their digest.
        """
        if is_server(self.uri):  # whose folders are those of another machine
            return None
        with self._reached():
            place = self._registry().get_model_version_download_uri(version.name, str(version.number))
        from mlflow.utils.file_utils import local_file_uri_to_path
        from mlflow.utils.uri import is_local_uri

        if not is_local_uri(place):
            return None
        folder, digest = Path(local_file_uri_to_path(place)), version.tags.get(DIGEST_TAG)
        for file in (folder / DESCRIPTION_FILE, folder / MODEL_FILE):
            if not file.exists():
                return f"its file {file} is gone"
        if digest is not None and not is_model(folder, digest):
            return f"its files in {folder} were changed since they were stored"
        return None

    def ledger_mark(self, name: str) -> Mark | None:
        """The newest entry of the ledger that the champion's alias follows, None before the first."""
        mlflow = self._mlflow()
        try:
            with self._reached():
                tag = self._registry().get_registered_model(name).tags.get(LEDGER_TAG)
        except mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return None if tag is None else Mark(tag.removesuffix(ANSWERED), tag.endswith(ANSWERED))

    def mark_ledger(self, name: str, mark: Mark) -> None:
        """Note that the champion's alias follows an entry of the ledger, unless no version was ever registered."""
        mlflow = self._mlflow()
        try:
            with self._reached():
                self._registry().set_registered_model_tag(name, LEDGER_TAG, mark.entry + ANSWERED * mark.answered)
        except mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise

    def inputs(self, address: str) -> dict[str, str]:
        """What a stored model takes by its signature: `double` or `string` for each column; empty without one."""
        with self.downloaded(address) as folder:
            signature = self._mlflow().models.Model.load(str(folder)).signature
        return {} if signature is None else {one.name: one.type.name for one in signature.inputs}

    @contextmanager
    def downloaded(self, address: str) -> Iterator[Path]:
        """A copy of a stored model's folder, for the time of a block; MLflow would leave one behind for good."""
        with TemporaryDirectory() as folder:
            yield Path(self._mlflow().artifacts.download_artifacts(address, dst_path=folder))

    def _version(self, found: Any) -> Version:
        tags = dict(found.tags)
        return Version(found.name, int(found.version), found.run_id, tags.get(CUTOFF_TAG, ""), found.source, tags)

    def _registry(self) -> Any:
        self._mlflow()
        # half a second less than MlflowClient, which opens the tracking store as well
        from mlflow.tracking._model_registry.client import ModelRegistryClient

        return ModelRegistryClient(self.uri, self.uri)
