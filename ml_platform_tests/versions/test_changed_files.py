"""A version whose files were changed or are gone is not served nor called reproduced, and does not become champion."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from ml_platform.cli import app
from ml_platform.cli.project import Project
from ml_platform.errors import UserError
from ml_platform.resources.model_files import DESCRIPTION_FILE, MODEL_FILE
from ml_platform.resources.registry import DIGEST_TAG, Version
from ml_platform.resources.registry_process import AskedRegistry, RegistryProcess
from ml_platform.stages.attributes import asset_key
from ml_platform.stages.model import RECIPE_TAG
from ml_platform.stages.opponent import opponent
from ml_platform.stages.recipes import load, save
from ml_platform.stages.reference import reference
from ml_platform.stages.work import Work
from ml_platform.use_case.words import DATA, MODEL
from ml_platform.versions.moves import promote, rollback
from ml_platform.versions.reproduce import reproduce
from ml_platform_tests.tiny_project import Variant, run, tiny_project

NAME = "chosen"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with two versions, of which the second is champion and has predicted nothing."""
    search = {"space": {"C": [0.001]}, "trials": 1, "folds": 1}
    chosen = Variant({"model": {"threshold": 0.3, "search": search}}, days=8)
    with tiny_project(tmp_path_factory.mktemp("changed_files"), {NAME: chosen}) as opened:
        for days in (7, 8):
            succeeded, outcome = run(opened, NAME, *DATA, *MODEL, days=days)
            assert succeeded, outcome
        yield opened


@pytest.fixture
def work(project: Project) -> Iterator[Work]:
    """What the project has stored; the files of its versions are put back afterwards, and the tags of their runs."""
    work = project.work(NAME)
    client = MlflowClient(work.tracking.uri)
    files = {
        file: file.read_bytes()
        for number in (1, 2)
        for file in (folder_of(work, number) / name for name in (DESCRIPTION_FILE, MODEL_FILE))
    }
    tags = {run_id: client.get_run(run_id).data.tags for run_id in (work.version(one).run_id for one in (1, 2))}
    yield work
    for file, content in files.items():
        file.write_bytes(content)
    for run_id, before in tags.items():
        for name in (DIGEST_TAG, RECIPE_TAG):
            client.set_tag(run_id, name, before[name])


def folder_of(work: Work, number: int) -> Path:
    """Where MLflow keeps the files of a version."""
    return Path(MlflowClient(work.tracking.uri).get_model_version_download_uri(NAME, str(number)))


def put_another_pipeline(work: Work, number: int) -> None:
    """The pipeline of the other version in the place of a version's own."""
    (folder_of(work, number) / MODEL_FILE).write_bytes((folder_of(work, 3 - number) / MODEL_FILE).read_bytes())


def put_another_threshold(work: Work, number: int) -> None:
    """A threshold that nobody has chosen."""
    described = folder_of(work, number) / DESCRIPTION_FILE
    described.write_text(described.read_text().replace("threshold: 0.3", "threshold: 0.0001"))


CHANGES = pytest.mark.parametrize("change", [put_another_pipeline, put_another_threshold])


@CHANGES
def test_it_is_served_nowhere_and_told_in_a_sentence(
    project: Project, work: Work, change: Callable[[Work, int], None]
) -> None:
    change(work, 2)
    sentence = (
        f"the files of version 2 of {NAME}, run {work.version(2).run_id}, were changed since they were stored; "
        "roll back to another version, or train it again."
    )
    compared = (
        f"version 2 cannot be compared: its files in {folder_of(work, 2)} were changed since they were stored; "
        "restore it, or train it again."
    )
    for command, told in ((("reproduce", f"{NAME}@2"), sentence), (("compare", NAME, "1", "2"), compared)):
        result = CliRunner().invoke(app, command)
        assert (result.exit_code, result.stderr) == (2, f"ml-platform: {told}\n")
    succeeded, outcome = run(project, NAME, "predictions", days=8)
    assert not succeeded
    assert sentence in str(outcome.errors)
    assert work.rows("predictions", ["2024-01-08"]).collect().is_empty()
    assert reproduce(work, work.version(1)).equal


def test_the_gate_against_a_champion_whose_files_were_changed_is_red(work: Work) -> None:
    put_another_pipeline(work, 2)
    own = work.version(2)
    report = work.reports.reports(asset_key(work.use_case, "evaluation"), [own.cutoff])[own.cutoff]
    stored = work.tracking.model_of(NAME, own.cutoff)
    with pytest.raises(ValueError, match="were changed since they were stored; roll back"):  # what promotion tells
        opponent(work, own, stored, report, own.cutoff)


@CHANGES
def test_one_that_was_stored_before_digests_were_kept_is_not_called_reproduced(
    work: Work, change: Callable[[Work, int], None]
) -> None:
    version = work.version(2)
    MlflowClient(work.tracking.uri).delete_tag(version.run_id, DIGEST_TAG)
    assert reproduce(work, version).equal
    change(work, 2)
    found = reproduce(work, version)
    (difference,) = found.differences
    told = {
        put_another_pipeline: "the stored model predicts otherwise than recorded, with the hash ",
        put_another_threshold: "stored model threshold was 0.3 and is 0.0001",
    }
    assert difference.startswith(told[change])
    assert (found.equal, found.found) == (False, found.recorded)
    result = CliRunner().invoke(app, ["reproduce", f"{NAME}@2"])
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{NAME}@2 is not reproduced: {found.rows:,} predictions have the hash ")
    assert result.stdout.endswith(f"{found.found[:16]}.\n  {difference}\n")


def test_a_stored_model_that_cannot_score_is_a_sentence(work: Work) -> None:
    version = work.version(2)
    MlflowClient(work.tracking.uri).delete_tag(version.run_id, DIGEST_TAG)
    described = folder_of(work, 2) / DESCRIPTION_FILE
    described.write_text(
        described.read_text().replace("    - amount\n", "    - gone\n").replace("  - amount\n", "  - gone\n")
    )
    with pytest.raises(UserError, match=f"^the stored {NAME} 2 cannot score its hold-out: "):
        reproduce(work, version)


def with_use_case_json(work: Work, change: Callable[[dict[str, Any]], None]) -> Version:
    """Version 2 with another `use_case.json`, in a run of its own."""
    client, version = MlflowClient(work.tracking.uri), work.version(2)
    run, written = client.get_run(version.run_id), work.tracking.read_json(version.run_id, "use_case.json")
    change(written)
    changed = client.create_run(run.info.experiment_id, tags=run.data.tags).info.run_id
    client.log_dict(changed, written, "use_case.json")
    return replace(version, run_id=changed)


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        (lambda written: written["model"].update(estimator="os.getcwd"), "model.estimator"),
        (lambda written: written["model"].update(seed=9, train_on="2 days"), "model.seed, model.train_on"),
        (lambda written: written["model"].update(params={"tol": 0.5}), "model.params.tol"),
        (lambda written: written["features"].update(columns=["amount"]), "columns"),
        (lambda written: written["label"].update(known_after="2 days"), "label.known_after"),
    ],
)
def test_what_was_changed_in_use_case_json_is_named(
    work: Work, change: Callable[[dict[str, Any]], None], keys: str
) -> None:
    version = with_use_case_json(work, change)
    with pytest.raises(UserError) as raised:
        reproduce(work, version)
    assert str(raised.value) == (
        f"use_case.json of run {version.run_id} says otherwise than was trained in {keys}; it was changed: restore it."
    )


def test_a_use_case_json_that_is_none_is_a_sentence(work: Work) -> None:
    version = with_use_case_json(work, lambda written: written["model"].update(train_on="two days"))
    told = rf"^use_case\.json of run {version.run_id} is refused by this version of the platform: model\.train_on: "
    for read in (reproduce, reference):  # monitoring holds to a reference
        with pytest.raises(UserError, match=told):
            read(work, version)


def test_a_key_that_the_schema_has_got_since_is_no_change(work: Work) -> None:
    before = load(work.lake, work.tracking.run_of(work.version(2).run_id).tags[RECIPE_TAG])
    older = replace(before, config={key: one for key, one in before.config.items() if key != "model.seed"})
    save(work.lake, older)
    version = with_use_case_json(work, lambda written: written["model"].pop("seed"))
    MlflowClient(work.tracking.uri).set_tag(version.run_id, RECIPE_TAG, older.digest)
    found = reproduce(work, version)
    assert found.equal
    assert found.differences == ["configuration model.seed was not there and is 0"]


@pytest.mark.parametrize("name", [DESCRIPTION_FILE, MODEL_FILE])
def test_a_version_whose_files_are_gone_does_not_become_champion(work: Work, name: str) -> None:
    file = folder_of(work, 1) / name
    file.unlink()
    with RegistryProcess() as process:
        asked = replace(work, asked=AskedRegistry(work.tracking, process))
        for there in (work, asked):
            for move in (promote, rollback):
                with pytest.raises(UserError, match=f"^version 1 cannot be champion: its file {file} is gone; "):
                    move(there, 1, "so")
        file.touch()
        assert asked.registry.spoilt(replace(work.version(1), tags={})) is None


@CHANGES
def test_a_version_whose_files_were_changed_does_not_become_champion(
    work: Work, change: Callable[[Work, int], None]
) -> None:
    change(work, 1)
    told = f"version 1 cannot be champion: its files in {folder_of(work, 1)} were changed since they were stored; "
    with RegistryProcess() as process:
        for there in (work, replace(work, asked=AskedRegistry(work.tracking, process))):
            for move in (promote, rollback):
                with pytest.raises(UserError, match=f"^{told}restore it, train it again, or take"):
                    move(there, 1, "so")
    assert work.tracking.spoilt(work.version(2)) is None


def test_files_that_are_not_on_this_machine_are_not_looked_for(work: Work, tmp_path: Path) -> None:
    client = MlflowClient(work.tracking.uri)
    there, gone = (
        work.tracking.version(NAME, int(client.create_model_version(NAME, place).version))
        for place in ("s3://bucket/model", str(tmp_path / "gone"))
    )
    assert work.tracking.spoilt(there) is None
    assert work.tracking.spoilt(gone) == f"its file {tmp_path / 'gone' / DESCRIPTION_FILE} is gone"
    served = work.tracking.model_copy(update={"uri": "http://127.0.0.1:9"})
    assert served.spoilt(gone) is None
