"""A promotion that is killed anywhere leaves one champion, and the next run completes it: one entry, one decision.

This file is the script of the killed runs, too: a process that has imported all and used nothing forks them.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.data_version import DATA_VERSION_TAG  # as stages/record.py does
from mlflow import MlflowClient

from ml_platform.cli.outcome import Outcome
from ml_platform.cli.project import Project, open_project
from ml_platform.cli.run import run_use_case
from ml_platform.resources.registry import EVALUATED_TAG, Mark, StoredModel
from ml_platform.resources.scoring_process import ScoringProcess
from ml_platform.resources.tracking import Tracking
from ml_platform.stages import fitting, ledger
from ml_platform.stages.training_rows import labelled_rows
from ml_platform.versions.moves import promote, rollback
from ml_platform_tests.conftest import copied, opened
from ml_platform_tests.drills import WARM
from ml_platform_tests.ml.test_model_card import Page
from ml_platform_tests.stages.test_ledger import sensor_says

CUTOFF, LAST_DAY = "2018-04-30", "2018-04-29"
SEAMS = {
    "entry": ("ml_platform.resources.lake", "Table.append_after"),
    "alias": ("ml_platform.resources.tracking", "Tracking.crown"),
    "mark": ("ml_platform.resources.tracking", "Tracking.mark_ledger"),
    "table": ("ml_platform.io_managers.tables", "TableIOManager.write"),
}


# -- the killed runs -----------------------------------------------------------------------------------------------


def kill_all(folders: dict[str, str]) -> None:
    """Run promotion in each of these folders, killed before or after a seam, as its name says."""
    for module in WARM:
        import_module(module)
    for name, folder in folders.items():
        child = os.fork()
        if not child:
            try:
                killed(name, Path(folder))
            finally:
                os._exit(70)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()  # a child would write what it inherits once more


def killed(name: str, folder: Path) -> None:
    when, seam = name.split()
    os.environ["ML_PLATFORM_HOME"] = str(folder / ".ml_platform")
    os.chdir(folder)
    module, path = SEAMS[seam]
    *owners, attribute = path.split(".")
    owner: Any = import_module(module)
    for one in owners:
        owner = getattr(owner, one)
    original = getattr(owner, attribute)

    @wraps(original)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        if when == "after":
            original(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, attribute, wrapped)
    run_use_case(open_project(), "payments", None, LAST_DAY, stages=["promotion"], quiet=True)


# -- the tests' side -----------------------------------------------------------------------------------------------


def promoted(project: Project, *, force: bool = False, last: str = LAST_DAY) -> Outcome:
    succeeded, outcome = run_use_case(project, "payments", None, last, stages=["promotion"], force=force, quiet=True)
    assert succeeded, outcome.errors
    return outcome


def decision(project: Project, cutoff: str = CUTOFF) -> dict[str, Any]:
    return project.work("payments").rows("promotion", [cutoff]).drop("decided_at").collect().row(0, named=True)


def said(outcome: Outcome) -> list[tuple[str, bool, str | None]]:
    return [(one.name, one.passed, one.reason) for one in outcome.checks]


def champion(project: Project) -> int | None:
    found = project.work("payments").tracking.champion("payments")
    return found.number if found else None


@pytest.fixture(scope="module")
def challenged(backtested: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project with a model that was evaluated and not yet judged, besides the champion, version 3."""
    folder = tmp_path_factory.mktemp("challenged") / "project"
    with pytest.MonkeyPatch.context() as patch:
        for project in copied(backtested, folder, patch):
            stages = ("model", "evaluation")
            succeeded, outcome = run_use_case(
                project, "payments", None, LAST_DAY, stages=stages, force=True, quiet=True
            )
            assert succeeded, outcome
    return folder


@pytest.fixture
def challenge(challenged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    yield from copied(challenged, tmp_path / "project", monkeypatch)


ENDS = {
    "before entry": 3,  # registered
    "after entry": 3,
    "after alias": 4,
    "before mark": 4,  # shown in the UI
    "after mark": 4,
    "before table": 4,
    "after table": 4,
}


@pytest.fixture(scope="module")
def crashed(challenged: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A copy of the challenged project for each end that a run may come to."""
    folder = tmp_path_factory.mktemp("crashed")
    folders = {name: folder / name.replace(" ", "_") for name in ENDS}
    for one in folders.values():
        with pytest.MonkeyPatch.context() as patch:
            for _ in copied(challenged, one, patch):
                pass
    lines = json.dumps({name: str(one) for name, one in folders.items()})
    run = subprocess.run(
        [sys.executable, __file__, lines],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert run.stdout.split() == [str(-signal.SIGKILL)] * len(ENDS)
    return folders


@pytest.fixture(scope="module")
def uninterrupted(challenged: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[Any]]:
    """The decision and the verdicts of a run that nobody killed."""
    with pytest.MonkeyPatch.context() as patch:
        for project in copied(challenged, tmp_path_factory.mktemp("whole") / "project", patch):
            outcome = promoted(project)
            return decision(project), said(outcome)
    raise AssertionError


@pytest.mark.parametrize("end", ENDS)
def test_a_killed_promotion_leaves_one_champion_and_the_next_run_completes_it(
    crashed: dict[str, Path],
    uninterrupted: tuple[dict[str, Any], list[Any]],
    end: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for project in opened(crashed[end], monkeypatch):
        assert champion(project) == ENDS[end]
        outcome = promoted(project)
        assert decision(project) == uninterrupted[0]
        # what was stored and not recorded is not judged again
        assert said(outcome) == uninterrupted[1][: 1 if end == "after table" else None]

        work = project.work("payments")
        entries = ledger.read(work).entries
        assert [(one.event, one.version, one.from_version) for one in entries] == [
            ("promoted", 1, None),
            ("promoted", 2, 1),
            ("promoted", 3, 2),
            ("promoted", 4, 3),
        ]
        assert (champion(project), work.tracking.ledger_mark("payments")) == (4, Mark(entries[-1].id))
        assert [one.number for one in work.tracking.versions("payments")] == [1, 2, 3, 4]
        shown = project.instance.fetch_materializations(ledger.ledger_key("payments"), limit=10).records
        assert {one.asset_materialization.metadata["id"].value for one in shown if one.asset_materialization} == {
            one.id for one in entries
        }
        assert said(promoted(project, force=True)) == uninterrupted[1]
        assert len(ledger.read(work).entries) == 4


def test_a_promotion_writes_the_page_beside_the_version_with_the_origin_of_its_numbers(challenge: Project) -> None:
    promoted(challenge)
    version = challenge.work("payments").tracking.version("payments", 4)
    assert version is not None
    made = {
        stage: challenge.instance.fetch_materializations(dg.AssetKey(["payments", stage]), limit=1).records[0]
        for stage in ("features", "model", "evaluation", "promotion")
    }
    assert len({record.run_id for record in made.values()}) == 3  # the model was evaluated in the run that trained it
    decided = made["promotion"].asset_materialization
    assert decided is not None
    run = client(challenge).get_run(version.run_id).info
    assert decided.metadata["report"] == dg.MetadataValue.url(
        f"http://127.0.0.1:5000/#/experiments/{run.experiment_id}/runs/{run.run_id}/artifacts/report.html"
    )
    address = str(decided.metadata["report_file"].value)
    assert address == f"{_artifacts(challenge, version.run_id)}/report.html"

    page = Page(Path(address).read_text())
    origins = page.rows("Lineage")
    links = {link.attrib["href"] for link in page.section("Lineage").iter("a")}

    assert {stage: cells[1] for stage, cells in origins.items()} == {stage: f"payments/{stage}" for stage in made}
    assert {stage: cells[4] for stage, cells in origins.items()} == {
        stage: record.run_id for stage, record in made.items()
    }
    assert links == {f"http://127.0.0.1:3000/runs/{record.run_id}" for record in made.values()}
    for stage in ("model", "evaluation"):
        materialization = made[stage].asset_materialization
        assert materialization is not None
        assert materialization.tags is not None
        assert origins[stage][2:4] == [CUTOFF, materialization.tags[DATA_VERSION_TAG]]


def test_a_gate_says_which_rows_the_champion_has_not_seen(challenge: Project) -> None:
    for tag, day in {"trained_from": "2018-04-26", "trained_until": "2018-04-27"}.items():
        client(challenge).set_model_version_tag("payments", "3", tag, f"{day}T00:00:00")
    work = challenge.work("payments")
    seen = labelled_rows(work, CUTOFF, "hold_out")["TX_DATETIME"].dt.day().to_list().count(26)

    promoted(challenge)

    (record,) = challenge.instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey(["payments", "promotion"]), "roc_auc_no_worse_than_champion"), limit=1
    )
    assert record.event is not None
    metadata = record.event.dagster_event.asset_check_evaluation_data.metadata  # type: ignore[union-attr]
    report = work.reports.reports(dg.AssetKey(["payments", "evaluation"]), [CUTOFF])[CUTOFF]
    assert (metadata["champion"].value, metadata["rows_the_champion_was_trained_on"].value) == (3, seen)
    compared = report.scores.height - seen
    assert metadata["rows_compared"].value == compared
    page = work.tracking.read_text(report.run_id, "report.html")
    assert (
        f"on those {compared:,} of {report.scores.height:,} rows of the hold-out that version 3 was not trained" in page
    )


def _artifacts(project: Project, run_id: str) -> str:
    return str(client(project).get_run(run_id).info.artifact_uri)


def client(project: Project) -> MlflowClient:
    return MlflowClient(project.work("payments").tracking.uri)


def test_the_alias_moved_by_hand_is_told_once_and_entered_and_judged_against(challenge: Project) -> None:
    client(challenge).set_registered_model_alias("payments", "champion", "1")
    outcome = promoted(challenge)

    (told,) = (one for one in outcome.checks if one.name == "champion_in_ledger")
    assert not told.passed
    assert told.reason is not None
    assert "the alias champion was moved from version 3 to 1 in MLflow" in told.reason
    record = challenge.instance.event_log_storage.get_asset_check_summary_records(
        [dg.AssetCheckKey(dg.AssetKey(["payments", "promotion"]), "champion_in_ledger")]
    )
    (summary,) = record.values()
    assert summary.last_check_execution_record is not None
    event = summary.last_check_execution_record.event
    assert event is not None
    assert event.dagster_event is not None
    assert event.dagster_event.asset_check_evaluation_data.severity == dg.AssetCheckSeverity.WARN
    last = ledger.read(challenge.work("payments")).entries[-2:]
    assert [(one.event, one.version, one.from_version) for one in last] == [
        ("moved_in_mlflow", 1, 3),
        ("promoted", 4, 1),
    ]
    again = promoted(challenge, force=True)
    assert all(one.passed for one in again.checks if one.name == "champion_in_ledger")


def test_the_alias_deleted_by_hand_is_told_and_the_next_model_judged_without_a_champion(challenge: Project) -> None:
    client(challenge).delete_registered_model_alias("payments", "champion")
    outcome = promoted(challenge)
    reasons = [one.reason for one in outcome.checks if one.name == "champion_in_ledger"]
    assert "was taken from version 3 in MLflow" in str(reasons)
    last = ledger.read(challenge.work("payments")).entries[-2:]
    assert [(one.event, one.version, one.from_version) for one in last] == [
        ("moved_in_mlflow", None, 3),
        ("promoted", 4, None),
    ]


def test_a_champion_that_was_put_into_mlflow_by_hand_is_a_sentence(challenge: Project) -> None:
    work = challenge.work("payments")
    first = work.tracking.version("payments", 1)
    assert first is not None
    client(challenge).create_model_version("payments", first.address)
    client(challenge).set_registered_model_alias("payments", "champion", "4")
    succeeded, outcome = run_use_case(challenge, "payments", None, LAST_DAY, stages=["promotion"], quiet=True)
    assert succeeded, outcome.errors  # the other gates can tell, and the model is registered
    reasons = {one.name: str(one.reason) for one in outcome.checks if not one.passed}
    assert reasons["roc_auc_no_worse_than_champion"].startswith(
        "the champion, version 4, was put into MLflow by hand, and nothing says what it was trained on"
    )
    assert outcome.stages["promotion"].latest["promoted"] is False
    rollback(work, None, "it is nobody's")
    assert champion(challenge) == 3


def test_an_override_holds_off_promotions_up_to_its_day(challenge: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    today = datetime.now(UTC).date()
    promote(challenge.work("payments"), 1, "the new terminals", until=today)
    held = promoted(challenge).stages["promotion"].latest
    assert held["promoted"] is False
    assert champion(challenge) == 1
    by = ledger.read(challenge.work("payments")).entries[-1].by
    assert held["reason"] == f"{by} has put version 1 in place until {today}: the new terminals"

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(days=1)

    monkeypatch.setattr("ml_platform.stages.decision.datetime", Tomorrow)
    assert promoted(challenge, force=True).stages["promotion"].latest["promoted"] is True
    assert champion(challenge) == 4


def test_an_override_without_a_day_holds_off_nothing(challenge: Project) -> None:
    promote(challenge.work("payments"), 1, "to see")
    assert promoted(challenge).stages["promotion"].latest["promoted"] is True
    assert champion(challenge) == 4


def test_what_was_rolled_back_from_does_not_come_back_by_itself_and_does_by_hand(registered: Project) -> None:
    work = registered.work("payments")
    rollback(work, None, "complaints")
    for force in (False, True):
        promoted(registered, force=force)
        assert champion(registered) == 2
    reason = decision(registered)["reason"]
    assert " has rolled back from this model on " in reason
    assert reason.endswith(": complaints")
    promote(work, 3, "it was not the model")
    assert promoted(registered, force=True).stages["promotion"].latest["promoted"] is True
    assert champion(registered) == 3
    assert [one.event for one in ledger.read(work).entries[3:]] == ["rolled_back", "overridden"]


def change_yaml(project: Project, old: str, new: str) -> Project:
    """The project after a change of its YAML file."""
    (file,) = project.folder.glob("*/defs/payments/defs.yaml")
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return open_project()


def test_what_was_rolled_back_from_does_not_come_back_as_the_same_model_trained_again(registered: Project) -> None:
    rollback(registered.work("payments"), None, "complaints")
    assert run_use_case(
        registered, "payments", None, LAST_DAY, stages=["model", "evaluation", "promotion"], force=True, quiet=True
    )[0]
    assert (decision(registered)["version"], decision(registered)["decision"]) == (4, "kept")
    assert decision(registered)["reason"].endswith(": complaints")
    assert champion(registered) == 2


def test_what_was_rolled_back_from_does_not_come_back_though_it_be_evaluated_again(registered: Project) -> None:
    rollback(registered.work("payments"), None, "complaints")
    project = change_yaml(registered, "  gates:\n", "  evaluation: {slice_rows: 500}\n  gates:\n")
    succeeded, outcome = run_use_case(
        project, "payments", None, LAST_DAY, stages=["evaluation", "promotion"], quiet=True
    )
    assert succeeded
    assert outcome.stages["evaluation"].unchanged == 0
    assert "has rolled back from this model" in outcome.stages["promotion"].latest["reason"]
    assert champion(project) == 2


def test_a_champion_that_is_evaluated_again_stays_and_is_not_entered_again(registered: Project) -> None:
    before = decision(registered)
    project = change_yaml(registered, "  gates:\n", "  evaluation: {slice_rows: 500}\n  gates:\n")
    succeeded, _ = run_use_case(project, "payments", None, LAST_DAY, stages=["evaluation", "promotion"], quiet=True)
    assert succeeded
    assert decision(project) == before
    assert len(ledger.read(project.work("payments")).entries) == 3


def test_a_champion_that_fails_a_new_gate_stays_and_its_decision_says_so(registered: Project) -> None:
    project = change_yaml(registered, "at_least: 0.55", "at_least: 0.99")
    found = promoted(project).stages["promotion"].latest
    assert (found["promoted"], found["version"], found["champion"]) == (False, 3, 3)
    assert ", below 0.99." in found["reason"]
    assert champion(project) == 3
    assert len(ledger.read(project.work("payments")).entries) == 3


@pytest.mark.parametrize(
    ("trained_from", "reason"),
    [
        ("2018-04-20", "the champion, version 3, is of the newer cutoff 2018-04-30."),
        (
            "2018-04-01",
            (
                "roc_auc_no_worse_than_champion: the champion was trained on all 2,222 rows of the hold-out, which "
                "leaves none to compare on; judge a model of a later cutoff."
            ),
        ),
    ],
)
def test_an_older_cutoff_is_compared_with_a_newer_champion_on_what_that_has_not_seen(
    registered: Project, trained_from: str, reason: str
) -> None:
    client(registered).set_model_version_tag("payments", "3", "trained_from", f"{trained_from}T00:00:00")
    outcome = promoted(registered, force=True, last="2018-04-15")
    assert outcome.stages["promotion"].latest["promoted"] is False
    assert outcome.stages["promotion"].latest["reason"] == reason


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(lambda rows: rows.head(-5), id="rows"),
        pytest.param(lambda rows: rows.with_columns(pl.col("TX_AMOUNT") * 2), id="a feature"),
        pytest.param(lambda rows: rows.with_columns(TX_FRAUD=1 - pl.col("TX_FRAUD")), id="the label"),
    ],
)
def test_a_hold_out_that_changed_since_the_evaluation_is_refused(
    registered: Project, changed: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    table = registered.work("payments").lake.table(dg.AssetKey(["payments", "features"]))
    day = date(2018, 4, 26)
    table.overwrite(changed(table.scan([day]).collect()), [day])
    succeeded, outcome = run_use_case(
        registered, "payments", None, LAST_DAY, stages=["promotion"], force=True, quiet=True
    )
    assert not succeeded
    reasons = {one.name: one.reason for one in outcome.checks if not one.passed}
    assert reasons == {"evaluated": "the hold-out has changed since the evaluation; materialize evaluation again."}
    assert champion(registered) == 3


def test_a_model_without_a_signature_is_not_registered(challenge: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking: Tracking = challenge.work("payments").tracking
    monkeypatch.setattr(Tracking, "inputs", lambda *_: {})
    stored: StoredModel = tracking.model_of("payments", CUTOFF)
    with pytest.raises(ValueError, match=r"has no signature; train it again\.$"):
        tracking.register("payments", stored, {})
    assert [one.number for one in tracking.versions("payments")] == [1, 2, 3]


def test_each_cutoff_has_one_run_that_is_finished(registered: Project) -> None:
    (experiment,) = [one for one in client(registered).search_experiments() if one.name == "payments"]
    runs = client(registered).search_runs([experiment.experiment_id])
    assert sorted((run.data.tags["cutoff"], run.info.status) for run in runs) == [
        ("2018-04-16", "FINISHED"),
        ("2018-04-23", "FINISHED"),
        ("2018-04-30", "FINISHED"),
    ]
    assert not any("mlflow.parentRunId" in run.data.tags for run in runs)


def test_a_model_trained_once_more_that_scores_otherwise_in_a_fresh_process_is_kept_back(
    challenge: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScoringProcess, "check", lambda *_: "it differs.")
    project = change_yaml(challenge, "train_on: 3 days", "train_on: 3 days\n    refit: true")
    assert promoted(project).stages["promotion"].latest["promoted"] is False
    decided = decision(project)
    assert (decided["decision"], decided["reason"]) == ("kept", "parity of the model trained once more: it differs.")
    (experiment,) = [one for one in client(project).search_experiments() if one.name == "payments"]
    (refused,) = client(project).search_runs([experiment.experiment_id], "tags.refused = 'it differs.'")
    assert (refused.info.status, refused.data.params["refit"]) == ("FAILED", "True")


def test_a_model_trained_once_more_is_kept_while_mlflow_is_away(
    challenge: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = change_yaml(challenge, "train_on: 3 days", "train_on: 3 days\n    refit: true")
    with monkeypatch.context() as away:
        away.setattr(Tracking, "store_model", Mock(side_effect=ConnectionError))
        succeeded, outcome = run_use_case(project, "payments", None, LAST_DAY, stages=["promotion"], quiet=True)
    assert not succeeded
    (red,) = [check for check in outcome.checks if not check.passed]
    assert (red.name, red.partition) == ("evaluated", CUTOFF)
    assert str(red.reason).endswith(
        " The fitted model is kept; run again when the server is back, nothing will be trained again."
    )
    table, day = project.work("payments").lake.table(dg.AssetKey(["payments", "features"])), date(2018, 4, 1)
    table.overwrite(table.scan([day]).collect(), [day], table.data_versions([day]))  # of no row that it was trained on
    monkeypatch.setattr(fitting, "fit", None)  # whoever trains again fails
    assert promoted(project).stages["promotion"].latest["promoted"] is True


def test_a_model_trained_once_more_is_a_child_of_the_run_that_was_judged(challenge: Project) -> None:
    project = change_yaml(challenge, "train_on: 3 days", "train_on: 3 days\n    refit: true")
    assert promoted(project).stages["promotion"].latest["promoted"] is True
    work = project.work("payments")
    version = work.tracking.champion("payments")
    assert version is not None
    run = client(project).get_run(version.run_id)
    assert Path(f"{run.info.artifact_uri}/report.html").is_file()
    assert run.data.tags["mlflow.parentRunId"] == version.tags[EVALUATED_TAG]
    assert run.info.status == "FINISHED"
    assert (version.tags["trained_from"], version.tags["trained_until"]) == (
        "2018-04-20T00:00:00",
        "2018-04-28T00:00:00",
    )
    again = promoted(project, force=True).stages["promotion"].latest
    assert (again["promoted"], again["version"]) == (True, version.number)
    assert len(ledger.read(work).entries) == 4


def test_runs_left_running_by_dead_dagster_runs_are_ended_and_others_are_not(registered: Project) -> None:
    mlflow = client(registered)
    (experiment,) = [one for one in mlflow.search_experiments() if one.name == "payments"]
    dead = registered.job.execute_in_process(
        instance=registered.instance,
        asset_selection=[dg.AssetKey(["payments", "raw_data"])],
        partition_key="2018-04-01",
        raise_on_error=False,
    )
    live = registered.instance.create_run_for_job(registered.job)
    left = {
        name: mlflow.create_run(experiment.experiment_id, tags={"dagster_run_id": run_id}).info.run_id
        for name, run_id in {"dead": dead.run_id, "live": live.run_id, "other": "of another instance"}.items()
    }
    own = mlflow.create_run(experiment.experiment_id).info.run_id
    assert sensor_says(registered) == (
        f"The champion is the one of the ledger. Ended as KILLED, their processes are no more: {left['dead']}."
    )
    assert {name: mlflow.get_run(run_id).info.status for name, run_id in left.items()} == {
        "dead": "KILLED",
        "live": "RUNNING",
        "other": "RUNNING",
    }
    assert mlflow.get_run(own).info.status == "RUNNING"


def test_a_run_that_ends_while_it_is_looked_at_keeps_its_status(
    registered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = client(registered)
    (experiment,) = [one for one in mlflow.search_experiments() if one.name == "payments"]
    run_id = mlflow.create_run(experiment.experiment_id, tags={"dagster_run_id": "ends"}).info.run_id

    def ends(*_: object) -> bool:
        mlflow.set_terminated(run_id, "FINISHED")
        return False

    monkeypatch.setattr("ml_platform.resources.tracking.is_alive", ends)
    assert sensor_says(registered) == "The champion is the one of the ledger."
    assert mlflow.get_run(run_id).info.status == "FINISHED"


def test_a_lost_registry_is_told_and_its_ledger_goes_on(registered: Project) -> None:
    (registered.folder / ".ml_platform" / "mlflow.db").unlink()
    stages = ("model", "evaluation", "promotion", "predictions")
    succeeded, outcome = run_use_case(registered, "payments", None, LAST_DAY, stages=stages, quiet=True)
    assert succeeded, outcome.errors
    reasons = [one.reason for one in outcome.checks if one.name == "champion_in_ledger"]
    assert "MLflow has no version 3 any more, which was champion; none is now" in str(reasons)
    last = ledger.read(registered.work("payments")).entries[-2:]
    assert [(one.event, one.version, one.from_version) for one in last] == [
        ("moved_in_mlflow", None, 3),
        ("promoted", 1, None),
    ]
    assert champion(registered) == 1


def test_a_model_that_is_gone_is_a_sentence(registered: Project) -> None:
    (registered.folder / ".ml_platform" / "mlflow.db").unlink()
    succeeded, outcome = run_use_case(
        registered, "payments", None, LAST_DAY, stages=["promotion"], force=True, quiet=True
    )
    assert not succeeded
    assert [one.reason for one in outcome.checks if not one.passed] == [
        "payments has no model of cutoff 2018-04-30; materialize model first."
    ]


def test_decisions_are_rows_with_their_gates(registered: Project) -> None:
    rows = registered.work("payments").rows("promotion", [CUTOFF]).collect()
    assert rows.select("version", "decision", "champion", "reason").row(0) == (3, "promoted", 3, "all gates passed.")
    assert json.loads(rows["gates"][0]) == {"roc_auc_at_least": None, "roc_auc_no_worse_than_champion": None}
    assert rows.schema["decided_at"] == pl.Datetime("us")


if __name__ == "__main__":
    kill_all(json.loads(sys.argv[1]))
