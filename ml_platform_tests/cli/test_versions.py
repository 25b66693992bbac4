"""The commands on registered versions as a person meets them, and the jobs that do the same in the UI."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from deltalake import DeltaTable
from mlflow import MlflowClient
from typer.testing import CliRunner, Result

from ml_platform.cli import app
from ml_platform.cli.project import Project
from ml_platform.stages import ledger
from ml_platform.stages.book import COLUMNS
from ml_platform.stages.model import PREDICTIONS_TAG
from ml_platform_tests.tiny_project import told


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def champion(project: Project) -> int | None:
    found = project.work("payments").tracking.champion("payments")
    return found.number if found else None


TODAY = datetime.now(UTC).date()


def test_promote_moves_the_champion_and_prints_the_entry(registered: Project) -> None:
    until = f"{TODAY + timedelta(days=3)}"
    result = invoke("promote", "payments", "1", "--why", "the new terminals", "--until", until)
    assert result.exit_code == 0, result.output
    assert result.output == f"Version 1 is champion now, after version 3, until {until} whatever comes.\n"
    assert champion(registered) == 1
    entry = told("promote", "payments", "2", "--why", "rather this one")
    assert set(entry) == set(COLUMNS)
    assert (entry["event"], entry["version"], entry["from_version"]) == ("overridden", 2, 1)
    assert (entry["until"], entry["gates"]) == (None, {})


def test_a_run_with_nothing_new_says_who_is_champion_now(registered: Project) -> None:
    def said() -> str:
        result = invoke("run", "payments", "--to", "2018-04-29", "--stage", "promotion")
        assert result.exit_code == 0, (result.output, result.exception)
        return " ".join(result.stdout.split())

    assert "champion version 3 is champion now: all gates passed." in said()
    made = told("rollback", "payments", "--why", "complaints")
    assert f"champion version 2 is champion, rolled back by {made['by']}: complaints" in said()
    MlflowClient(registered.work("payments").tracking.uri).set_registered_model_alias("payments", "champion", "1")
    assert "champion version 1 is champion, moved in mlflow by unknown: the alias was moved in MLflow" in said()
    MlflowClient(registered.work("payments").tracking.uri).delete_registered_model_alias("payments", "champion")
    assert "champion there is none, moved in mlflow by unknown: the alias was moved in MLflow" in said()


def test_a_run_whose_ledger_does_not_fit_mlflow_says_so_after_what_it_did(registered: Project) -> None:
    DeltaTable(registered.work("payments").lake.address(ledger.ledger_key("payments"))).restore(1)
    result = invoke("run", "payments", "--to", "2018-04-29", "--stage", "promotion", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    (error,) = document["errors"]
    assert error.startswith("the ledger of payments lacks the move that the champion of payments in MLflow at ")
    assert document["stages"].keys() == {"promotion"}


def test_rollback_goes_down_the_line(registered: Project) -> None:
    entry = told("rollback", "payments", "--why", "complaints")
    assert (entry["event"], entry["version"], entry["from_version"], entry["why"]) == (
        "rolled_back",
        2,
        3,
        "complaints",
    )
    result = invoke("rollback", "payments", "--why", "complaints")
    assert result.output == "Version 1 is champion now, after version 2.\n"
    result = invoke("rollback", "payments", "--to", "3", "--why", "it was not the model")
    assert result.output == "Version 3 is champion now, after version 1.\n"
    assert champion(registered) == 3


def test_a_move_waits_neither_for_mlflow_after_dagster_nor_for_pyarrow(registered: Project) -> None:
    code = """
import sys
from ml_platform.cli import app
assert "dagster" not in sys.modules
app(sys.argv[1:], standalone_mode=False)
print(sorted({"dagster", "mlflow", "pyarrow"} & set(sys.modules)))
"""
    for arguments in (["rollback", "payments", "--why", "now"], ["promote", "payments", "3", "--why", "and back"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "['dagster']"
    assert champion(registered) == 3


def test_history_shows_the_ledger_and_who_was_champion_on_a_day(registered: Project) -> None:
    invoke("rollback", "payments", "--why", "complaints")
    entries = told("history", "payments")
    assert [(one["event"], one["version"], one["from_version"]) for one in entries] == [
        ("promoted", 1, None),
        ("promoted", 2, 1),
        ("promoted", 3, 2),
        ("rolled_back", 2, 3),
    ]
    assert entries[0]["gates"] == {"roc_auc_at_least": None, "roc_auc_no_worse_than_champion": None}
    assert [one["version"] for one in told("history", "payments", "--as-of", f"{TODAY}")] == [2]
    assert told("history", "payments", "--as-of", "2018-05-31") == []
    assert invoke("history", "payments", "--as-of", "2018-05-31").output == "payments had no champion on 2018-05-31.\n"
    shown = invoke("history", "payments").output
    assert "rolled back" in " ".join(shown.split())
    assert registered.use_cases() == ["payments"]


def test_trace_prints_what_a_version_was_made_of(registered: Project) -> None:
    found = told("trace", "payments@2")
    assert set(found) == {
        *("version", "cutoff", "mlflow_run", "dagster_run", "model", "metrics"),
        *("git_commit", "code", "config", "environment", "features", "validated_data", "raw_data", "moves"),
    }
    assert found["moves"] == [one for one in told("history", "payments") if 2 in (one["version"], one["from_version"])]
    result = invoke("trace", "payments@2")
    assert result.exit_code == 0, result.output
    for word in ("payments@2", "raw_data 2018-04-11 .. 2018-04-20 (10)", "scikit-learn", "promoted"):
        assert word in result.output
    assert registered.use_cases() == ["payments"]


def test_compare_prints_both_and_writes_a_page(registered: Project) -> None:
    file = registered.folder / "both.html"
    found = told("compare", "payments", "2", "3", "--html", str(file))
    assert set(found) == {"left", "right", "hold_out_of", "rows", "differences", "runs"}
    assert (found["left"]["number"], found["right"]["number"], found["hold_out_of"]) == (2, 3, 3)
    assert set(found["differences"]["roc_auc"]) == {"point", "low", "high", "confidence"}
    assert [run["run_id"] for run in found["runs"]] == [found["left"]["run_id"], found["right"]["run_id"]]
    assert file.read_text().lower().startswith("<!doctype html>")
    result = invoke("compare", "payments", "2", "3", "--html", str(file))
    assert result.exit_code == 0, result.output
    assert "rows of that of version 3" in " ".join(result.output.split())
    assert "both.html has both side by side." in result.output.replace("\n", " ")


def test_reproduce_says_whether_a_version_predicts_the_same(registered: Project) -> None:
    found = told("reproduce", "payments@3")
    assert set(found) == {"equal", "recorded", "found", "rows", "differences"}
    assert found["equal"] is True
    assert "payments@3 is reproduced: " in invoke("reproduce", "payments@3").output
    work = registered.work("payments")
    version = work.tracking.version("payments", 3)
    assert version is not None
    MlflowClient(work.tracking.uri).set_tag(version.run_id, PREDICTIONS_TAG, "0" * 64)
    result = invoke("reproduce", "payments@3")
    assert result.exit_code == 1
    assert "payments@3 is not reproduced: " in result.output
    assert ", recorded is 0000000000000000." in result.output
    result = invoke("reproduce", "payments@3", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["equal"] is False


MISTAKES = [
    (["promote", "payments", "2"], 'say why: --why "...", or why in a job.'),
    (["promote", "payments", "9", "--why", "so"], "payments has no version 9; the newest are 1, 2, 3."),
    (
        ["promote", "payments", "9223372036854775808", "--why", "so"],
        "payments has no version 9223372036854775808; the newest are 1, 2, 3.",
    ),
    (["promote", "payments", "3", "--why", "so"], "version 3 is champion already."),
    (
        ["promote", "payments", "2", "--why", "so", "--until", "soon"],
        "--until soon is no day; write it like 2018-05-31.",
    ),
    (["promote", "payments", "2", "--why", "so", "--until", "2018-05-31"], "2018-05-31 is over; give a later day"),
    (["promote", "payment", "2", "--why", "so"], "there is no use case 'payment'; did you mean 'payments'?"),
    (["rollback", "payments"], 'say why: --why "...", or why in a job.'),
    (["rollback", "payments", "--why", "so", "--to", "9"], "payments has no version 9"),
    (["history", "payment"], "there is no use case 'payment'"),
    (["history", "payments", "--as-of", "soon"], "--as-of soon is no day; write it like 2018-05-31."),
    (["trace", "payments@9"], "payments has no version 9"),
    (
        ["trace", "payments"],
        "say which version of payments, such as payments@3; ml-platform history payments shows the champions.",
    ),
    (["trace", "payments@x"], "say which version of payments, such as payments@3"),
    (["compare", "payments", "2", "9"], "payments has no version 9"),
    (
        ["compare", "payments", "2", "3", "--html", "nowhere/both.html"],
        "--html nowhere/both.html cannot be written: No",
    ),
    (["reproduce", "payments@9"], "payments has no version 9"),
    (["reproduce", "payment@1"], "there is no use case 'payment'; did you mean 'payments'?"),
]
NEVER_RAN = [
    (["promote", "payments", "1", "--why", "so"], "payments has no version 1; none was registered so far."),
    (
        ["rollback", "payments", "--why", "so"],
        "payments has no champion to roll back from; say which one: --to VERSION.",
    ),
    (["trace", "payments@1"], "payments has no version 1; none was registered so far."),
    (["compare", "payments", "1", "2"], "payments has no version 1; none was registered so far."),
    (["reproduce", "payments@1"], "payments has no version 1; none was registered so far."),
]


def assert_sentence(arguments: list[str], sentence: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2, (arguments, result.output)
    assert sentence in " ".join(result.stderr.split()), arguments
    assert len(result.stderr.strip().splitlines()) == 1


def test_mistakes_are_one_sentence_each_and_move_nothing(registered: Project) -> None:
    for arguments, sentence in MISTAKES:
        assert_sentence(arguments, sentence)
    assert champion(registered) == 3
    assert len(ledger.read(registered.work("payments")).entries) == 3


def test_where_nothing_ran_so_far_there_is_a_sentence(payments: Project) -> None:
    for arguments, sentence in NEVER_RAN:
        assert_sentence(arguments, sentence)
    assert invoke("history", "payments").output == "payments had no champion so far.\n"
    assert told("history", "payments") == []
    assert payments.folder.exists()


@pytest.mark.usefixtures("registered")
def test_a_reason_may_have_brackets() -> None:
    assert invoke("rollback", "payments", "--why", "see [/ops] and [jira-12]").exit_code == 0
    shown = " ".join(invoke("history", "payments").output.replace("│", " ").split())
    assert "[/ops]" in shown
    assert "[jira-12]" in shown


# -- the jobs --------------------------------------------------------------------------------------------------------


def executed(project: Project, action: str, **config: Any) -> dg.ExecuteInProcessResult:
    return project.definitions.resolve_job_def("payments__versions").execute_in_process(
        instance=project.instance,
        run_config={"ops": {"payments__versions_step": {"config": {action: config}}}},
        raise_on_error=False,
    )


def failure(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    (step,) = result.get_step_failure_events()
    error = step.step_failure_data.user_failure_data
    assert error is not None
    return str(error.description)


def test_jobs_promote_and_roll_back_and_enter_their_run(registered: Project) -> None:
    promoted = executed(registered, "promote", version=1, why="the new terminals", until=f"{TODAY}")
    assert promoted.success
    assert champion(registered) == 1
    for number in (3, 2):  # the first is answered, so the second is one more
        assert executed(registered, "rollback", why="complaints").success
        assert champion(registered) == number
    last = executed(registered, "rollback", why="complaints", to=1)
    assert champion(registered) == 1
    entries = ledger.read(registered.work("payments")).entries[3:]
    assert [(one.event, one.version, one.until) for one in entries] == [
        ("overridden", 1, TODAY),
        ("rolled_back", 3, None),
        ("rolled_back", 2, None),
        ("rolled_back", 1, None),
    ]
    assert (entries[0].dagster_run, entries[-1].dagster_run) == (promoted.run_id, last.run_id)
    shown = registered.instance.fetch_materializations(ledger.ledger_key("payments"), limit=1).records[0]
    assert shown.run_id == last.run_id


def test_the_job_reproduce_fails_with_what_differs(registered: Project) -> None:
    assert executed(registered, "reproduce", version=3).success
    work = registered.work("payments")
    version = work.tracking.version("payments", 3)
    assert version is not None
    MlflowClient(work.tracking.uri).set_tag(version.run_id, PREDICTIONS_TAG, "0" * 64)
    sentence = failure(executed(registered, "reproduce", version=3))
    assert sentence.startswith("version 3 is not reproduced: the stored model predicts otherwise than recorded")


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The metadata that a job's step gave."""
    assert result.success
    outputs = [event.step_output_data for event in result.all_events if event.is_successful_output]
    return {name: value.value for name, value in outputs[0].metadata.items()}


def test_the_job_history_shows_what_the_command_does(registered: Project) -> None:
    assert shown(executed(registered, "history"))["moves"] == told("history", "payments")
    newest = shown(executed(registered, "history", as_of=f"{TODAY}"))["moves"]
    assert newest == told("history", "payments", "--as-of", f"{TODAY}")
    assert [one["version"] for one in newest] == [3]
    assert shown(executed(registered, "history", as_of="2018-05-31"))["moves"] == []


def test_the_jobs_trace_and_compare_show_what_the_commands_do(registered: Project) -> None:
    traced = shown(executed(registered, "trace", version=2))
    assert traced["version"] == "payments@2"
    assert traced["raw_data"] == told("trace", "payments@2")["raw_data"]

    compared, printed = (
        shown(executed(registered, "compare", left=1, right=2)),
        told("compare", "payments", "1", "2"),
    )
    assert compared["rows"] == printed["rows"]
    found = printed["differences"]["roc_auc"]
    assert compared["differences"]["roc_auc"] == [found["point"], found["low"], found["high"]]
    assert "payments 1" in Path(compared["page"].removeprefix("file://")).read_text()


@pytest.mark.parametrize(
    ("job", "config", "sentence"),
    [
        ("promote", {"version": 9, "why": "so"}, "payments has no version 9; the newest are 1, 2, 3."),
        ("promote", {"version": 2, "why": ""}, 'say why: --why "...", or why in a job.'),
        ("promote", {"version": 2, "why": "so", "until": "soon"}, "until soon is no day; write it like 2018-05-31."),
        ("rollback", {"to": 3, "why": "so"}, "version 3 is champion already."),
        ("history", {"as_of": "soon"}, "as_of soon is no day; write it like 2018-05-31."),
        ("reproduce", {"version": 9}, "payments has no version 9; the newest are 1, 2, 3."),
    ],
)
def test_a_job_that_cannot_do_it_fails_with_the_sentence(
    registered: Project, job: str, config: dict[str, Any], sentence: str
) -> None:
    assert failure(executed(registered, job, **config)) == sentence
    assert champion(registered) == 3


def test_the_page_stays_where_it_is_told(registered: Project, tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.html"
    assert invoke("compare", "payments", "1", "2", "--html", str(file)).exit_code == 0
    text = file.read_text()
    assert "<script src" not in text
    assert "<link" not in text
    assert registered.use_cases() == ["payments"]
