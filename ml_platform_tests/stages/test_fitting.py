"""The fitting of a model in the graph: its search that goes on after a kill, and a tracking server that goes away."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from ml_platform.cli.project import Project
from ml_platform.ml import trials
from ml_platform.stages import fitting
from ml_platform.stages.training_rows import labelled_rows
from ml_platform_tests.services import tracking_server
from ml_platform_tests.tiny_project import CUTOFF, FIRST, Variant, reasons, run, tiny_project

TRIALS, KILLED_AT = 4, 2
SEARCH = {
    "space": {"C": {"low": 0.0001, "high": 10.0, "log": True}, "fit_intercept": [True, False]},
    "trials": TRIALS,
    "folds": 2,
}
SEARCHING = Variant({"model": {"search": SEARCH}})
NEXT = f"{FIRST + timedelta(days=8)}"
KILLED = """
import os, signal, sys
from ml_platform.ml.trials import Trials

add = Trials.add

def killed(self, trial):
    if trial.number == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    add(self, trial)

Trials.add = killed
from ml_platform.cli import app
app(sys.argv[2:])
"""


# -- search --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    variants = {"whole": replace(SEARCHING, days=8), "killed": SEARCHING, "bare": SEARCHING}
    with tiny_project(tmp_path_factory.mktemp("searches"), variants) as opened:
        assert run(opened, "whole", days=8)[0]
        succeeded, outcome = run(opened, "whole", "model", days=8, backtest=True)
        assert succeeded, (outcome.errors, reasons(outcome, "model"))
        yield opened


def tried(project: Project, name: str, cutoff: str) -> list[Any]:
    """The trials of the model's run by number."""
    tracking = project.work(name).tracking
    client, parent = MlflowClient(tracking.uri), tracking.model_of(name, cutoff).run_id
    experiment = client.get_experiment_by_name(name).experiment_id
    found = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    return sorted(found, key=lambda one: str(one.info.run_name))


def values(found: list[Any]) -> list[tuple[dict[str, str], dict[str, float]]]:
    """The parameters and the metrics of trials."""
    return [(one.data.params, one.data.metrics) for one in found]


def test_trials_are_children_of_the_models_run_and_the_best_ones_parameters_are_the_models(project: Project) -> None:
    tracking = project.work("whole").tracking
    runs = {}
    for cutoff in (CUTOFF, NEXT):
        found = tried(project, "whole", cutoff)
        assert [one.info.run_name for one in found] == [f"trial {number}" for number in range(TRIALS)]
        assert {one.info.status for one in found} == {"FINISHED"}
        best = max(found, key=lambda one: one.data.metrics["roc_auc"])
        stored = tracking.model_of("whole", cutoff)
        model = tracking.load_model(stored.address)
        assert {f"params.{name}": str(value) for name, value in model.params.items()} == best.data.params
        assert best.data.params.items() <= tracking.run_of(stored.run_id).params.items()
        estimator = model.pipeline.named_steps["estimator"]
        assert {name: getattr(estimator, name) for name in model.params} == model.params
        runs[cutoff] = values(found)
    # each cutoff has a study of its own: its trials are those of its rows
    assert [one for _, one in runs[CUTOFF]] != [one for _, one in runs[NEXT]]
    assert runs[CUTOFF][0][0] == runs[NEXT][0][0]


def test_a_search_on_other_rows_is_another_study(project: Project) -> None:
    work = project.work("whole")
    train = labelled_rows(work, CUTOFF, "train")
    corrected = train.gather_every(2)
    _, first = fitting.searched(work, train, "0a", CUTOFF)
    _, other = fitting.searched(work, corrected, "0b", CUTOFF)
    assert [one["value"] for one in first] != [one["value"] for one in other]
    assert fitting.searched(work, corrected, "0a", CUTOFF)[1] == first  # by its version it goes on with that one


def test_a_search_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(project, "killed")[0]
    last = f"{FIRST + timedelta(days=6)}"
    command = ["-W", "ignore", "-c", KILLED, str(KILLED_AT), "run", "killed", "--to", last, "--stage", "model"]
    ended = subprocess.run([sys.executable, *command], cwd=project.folder, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    added = []
    add = trials.Trials.add

    def noted(self: trials.Trials, trial: trials.Trial) -> None:
        added.append(trial.number)
        add(self, trial)

    monkeypatch.setattr(trials.Trials, "add", noted)
    succeeded, outcome = run(project, "killed", "model")

    assert succeeded, (outcome.errors, reasons(outcome, "model"))
    assert added == [*range(KILLED_AT, TRIALS)]
    whole, killed = (project.work(name) for name in ("whole", "killed"))
    assert values(tried(project, "killed", CUTOFF)) == values(tried(project, "whole", CUTOFF))
    rows = labelled_rows(whole, CUTOFF, "known")
    one, other = (
        work.tracking.load_model(work.tracking.model_of(name, CUTOFF).address).predict(rows)
        for name, work in (("whole", whole), ("killed", killed))
    )
    assert np.array_equal(one, other)


def test_without_optuna_the_verdict_says_what_to_install(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(project, "bare")[0]
    monkeypatch.setitem(sys.modules, "optuna", None)
    succeeded, outcome = run(project, "bare", "model")
    assert not succeeded
    assert not outcome.errors
    assert reasons(outcome, "model") == {"trainable": "model.search needs optuna; install ml-platform[tuning]."}


# -- tracking server -----------------------------------------------------------------------------------------------


def test_a_model_that_the_tracking_server_did_not_take_is_kept_and_not_fitted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[int] = []
    during: list[Callable[[], None]] = []
    fit = fitting.fit

    def counted(*arguments: Any) -> Any:
        for one in during:
            one()
        fits.append(len(fits))
        return fit(*arguments)

    monkeypatch.setattr(fitting, "fit", counted)
    settings = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    # stages wait for a server that is away; here it stays away
    stop = {"transient": {"do": "stop"}}
    variant = replace(SEARCHING, days=8, changes={**SEARCHING.changes, "failures": stop})
    with (
        tracking_server(tmp_path) as server,
        tiny_project(tmp_path, {"served": variant}, MLFLOW_TRACKING_URI=server.uri, **settings) as project,
    ):
        # no server from the beginning: the data needs none, and a model says so
        assert run(project, "served")[0]
        succeeded, outcome = run(project, "served", "model")
        assert not succeeded
        (told,) = outcome.errors
        assert told.endswith(f": the tracking server {server.uri} cannot be reached; start it, and run again.")
        assert fits == []

        server.start()
        succeeded, outcome = run(project, "served", "model")
        assert succeeded, (outcome.errors, reasons(outcome, "model"))
        assert fits == [0]
        tracking = project.work("served").tracking
        first = tracking.model_of("served", CUTOFF)

        # a page is linked where a browser shows it
        assert tracking.log_text(first.run_id, "a page", "page.html") == (
            f"{server.uri}/#/experiments/1/runs/{first.run_id}/artifacts/page.html"
        )

        # the server dies while the next cutoff is fitted
        assert run(project, "served", days=8)[0]
        during.append(server.kill)
        succeeded, outcome = run(project, "served", "model", days=8)
        during.clear()
        assert not succeeded
        assert not outcome.errors
        reason = reasons(outcome, "model")["trainable"]
        assert reason == (
            f"the tracking server {server.uri} cannot be reached. The fitted model is kept; run again when the server "
            "is back, nothing will be trained again."
        )
        assert fits == [0, 1]
        (kept,) = (project.folder / ".ml_platform" / "lake").rglob("unlogged/*.skops")

        server.start()
        assert tracking.model_of("served", CUTOFF) == first
        succeeded, outcome = run(project, "served", "model", days=8)
        assert succeeded, (outcome.errors, reasons(outcome, "model"))
        assert fits == [0, 1]
        assert not kept.exists()
        assert len(tried(project, "served", NEXT)) == TRIALS
        again = tracking.load_model(tracking.model_of("served", NEXT).address)

        succeeded, outcome = run(project, "served", "model", days=8, force=True)
        assert succeeded, (outcome.errors, reasons(outcome, "model"))
        assert fits == [0, 1, 2]
        fitted = tracking.load_model(tracking.model_of("served", NEXT).address)
        assert fitted.run_id != again.run_id
        rows = labelled_rows(project.work("served"), NEXT, "known")
        assert np.array_equal(again.predict(rows), fitted.predict(rows))
        assert (again.params, again.threshold) == (fitted.params, fitted.threshold)
