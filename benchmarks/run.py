"""Runs scenarios and prints what each contender took: `python -m benchmarks.run --scenario day --rounds 3`."""

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import polars as pl
import typer

from benchmarks import drift as drifts
from benchmarks import report
from benchmarks.answers import check_equal, check_equal_tables
from benchmarks.contenders import Bare, CommandLine, Measured, Tutorial, WebServer, script
from benchmarks.measure import command
from benchmarks.projects import (
    FIRST_DAY,
    PACKAGE,
    USE_CASE,
    days_from,
    write_days,
    write_empty_project,
    write_project,
    write_scaffolded_project,
)
from benchmarks.report import Target, at_least, at_most, peak, wall

DAYS_BEFORE, MONTH, HALF_YEAR, CHAIN, WEEK = 40, 30, 183, 31, 7
CUTOFF = date(2018, 5, 2)
COPIES, USE_CASES, CHECKS = 10, 50, 50
LOAD = f"import {PACKAGE}.definitions as m; (m.defs() if callable(m.defs) else m.defs).get_repository_def()"
GIBIBYTE = 1024
SEEDS = 100
IMPORTS = "import dagster, mlflow"
STORES = ("ML_PLATFORM_HOME", "ML_PLATFORM_LAKE", "ML_PLATFORM_ARTIFACTS", "MLFLOW_TRACKING_URI", "DAGSTER_HOME")
CUSTOM_CHECKS = {
    "checks": [
        {"name": f"check_{number}", "stage": "features", "function": f"{PACKAGE}.checks:nothing"}
        for number in range(CHECKS)
    ]
}

Results = dict[str, list[Measured]]


@dataclass(frozen=True)
class Settings:
    """Where scenarios work, how often each is repeated, and on how many days the tutorial's project is measured."""

    folder: Path
    rounds: int
    tutorial_days: int


def day(settings: Settings) -> None:
    """One new day from raw data to features, where 40 days are there already; each round is the next day."""
    days = days_from(FIRST_DAY, DAYS_BEFORE + settings.rounds)
    data = _data(settings, days)
    bare, commands = Bare(settings.folder / "a", data), CommandLine(settings.folder / "b", data)
    server, tutorial = WebServer(CommandLine(settings.folder / "c", data)), Tutorial(settings.folder / "d", data, 1)
    contenders = (bare, commands, server, tutorial)
    results: Results = {one.title: [] for one in contenders}
    with closing(server):
        for one in contenders:
            one.prepare(days[:DAYS_BEFORE])
        server.run([days[DAYS_BEFORE - 1]])  # a server's first run starts the process that the others are forked from
        for new in days[DAYS_BEFORE:]:
            for one in contenders:
                results[one.title].append(one.run([new]))
            for other in (commands, server):
                check_equal_tables(bare.lake, other.lake, [new])
            _check_tutorial(bare, tutorial, [new])
    a, b, c, d = results.values()
    _show(
        results,
        [
            at_most("b above a", wall(b) - wall(a), 2.5, " s"),
            at_most("c, trigger to success", wall(c), 5.0, " s"),
            at_most("c with warm start", wall(c), 2.0, " s"),
            at_least("c, times faster than d", wall(d) / wall(c), 15, ""),
        ],
        stepped=(bare.title, commands.title),
    )


def month(settings: Settings) -> None:
    """Thirty days from raw data to features into an empty lake."""
    _range(settings, MONTH)


def half_year(settings: Settings) -> None:
    """183 days from raw data to features into an empty lake."""
    _range(settings, HALF_YEAR)


def _range(settings: Settings, count: int) -> None:
    days = days_from(FIRST_DAY, count)
    data = _data(settings, days)
    results: Results = {}
    for number in range(settings.rounds):
        with TemporaryDirectory(dir=settings.folder) as name:
            folder = Path(name)
            bare, commands = Bare(folder / "a", data), CommandLine(folder / "b", data)
            server = WebServer(CommandLine(folder / "c", data))
            tutorial = Tutorial(folder / "d", data, settings.tutorial_days)
            for one in (bare, commands):
                results.setdefault(one.title, []).append(one.run(days))
            with closing(server):
                server.prepare([])
                results.setdefault(server.title, []).append(server.run(days))
            results.setdefault(tutorial.title, []).append(tutorial.run(days))
            for other in (commands, server):
                check_equal_tables(bare.lake, other.lake, days)
            _check_tutorial(bare, tutorial, days[: settings.tutorial_days])
        _progress(f"round {number + 1} of {settings.rounds}")
    a, b, c, d = results.values()
    found = [
        at_most("b, times a", wall(b) / wall(a), 1.5, ""),
        at_least("b, times faster than d", wall(d) / wall(b), 50, ""),
        at_least("c, times faster than d", wall(d) / wall(c), 50, ""),
    ]
    _show(results, found, stepped=(bare.title, commands.title), days=count)


def tenfold(settings: Settings) -> None:
    """183 days with ten times the rows of `half-year`, next to it; the bare script needs 8 GB."""
    days = days_from(FIRST_DAY, HALF_YEAR)
    sizes = {1: _data(settings, days), COPIES: _data(settings, days, COPIES)}
    results: Results = {}
    for number in range(settings.rounds):
        for copies, data in sizes.items():
            with TemporaryDirectory(dir=settings.folder) as name:
                bare, commands = Bare(Path(name) / "a", data), CommandLine(Path(name) / "b", data)
                for one in (bare, commands):
                    results.setdefault(f"{one.title}, {copies} x 9,800 rows a day", []).append(one.run(days))
                check_equal_tables(bare.lake, commands.lake, days)
        _progress(f"round {number + 1} of {settings.rounds}")
    _, b, _, large = results.values()
    found = [
        at_most("b, times the time of half-year", wall(large) / wall(b), 11, ""),
        at_most("b, times the memory of half-year", peak(large) / peak(b), 1.5, ""),
        at_most("b, peak", peak(large) / GIBIBYTE, 2, " GiB"),
    ]
    _show(results, found, stepped=tuple(results))


def chain(settings: Settings) -> None:
    """31 days from raw data to a champion and its predictions, with every gate."""
    days = days_from(FIRST_DAY, CHAIN)
    data = _data(settings, days)
    titles = ("a  script, model in MLflow", "a' script, model in a file", "b  command line")
    results: Results = {title: [] for title in titles}
    for number in range(settings.rounds):
        with TemporaryDirectory(dir=settings.folder) as name:
            commands = CommandLine(Path(name) / "b", data)
            scripts = [Bare(Path(name) / folder, data) for folder in ("a", "a1")]
            measured = [
                script.champion(days, commands.yaml, CUTOFF, in_mlflow=in_mlflow)
                for script, in_mlflow in zip(scripts, (True, False), strict=True)
            ]
            b, document = commands.champion(days)
            for title, one in zip(titles, [*(cost for cost, _ in measured), b], strict=True):
                results[title].append(one)
            evaluation = document["stages"]["evaluation"]["latest"]
            for script, (_, said) in zip(scripts, measured, strict=True):
                check_equal_tables(script.lake, commands.lake, days)
                metrics = pl.DataFrame(said["metrics"])
                check_equal(metrics, pl.DataFrame({name: evaluation[name] for name in metrics.columns}), "the metrics")
            if not document["stages"]["promotion"]["latest"]["promoted"]:
                raise SystemExit("the platform has no champion.")
        _progress(f"round {number + 1} of {settings.rounds}")
    a, in_file, b_runs = results.values()
    found = [
        at_most("b, times a", wall(b_runs) / wall(a), 1.5, ""),
        at_most("b, times a'", wall(b_runs) / wall(in_file), 1.5, ""),
    ]
    _show(results, found, stepped=titles)


def unchanged(settings: Settings) -> None:
    """The chain once more with nothing new, next to an empty Dagster run."""
    days = days_from(FIRST_DAY, CHAIN)
    data = _data(settings, days)
    empty = write_empty_project(settings.folder / "empty")
    titles = ("an empty Dagster run", "b  first run", "b  second run")
    results: Results = {title: [] for title in titles}
    for number in range(settings.rounds):
        with TemporaryDirectory(dir=settings.folder) as name:
            commands = CommandLine(Path(name) / "b", data)
            home = Path(name) / "dagster"
            home.mkdir()
            results[titles[0]].append(_empty_run(empty, home))
            for title in titles[1:]:
                results[title].append(commands.whole(days))
        _progress(f"round {number + 1} of {settings.rounds}")
    nothing, _, second = results.values()
    found = [at_most("second run above an empty run", wall(second) - wall(nothing), 3, " s")]
    _show(results, found, stepped=titles[2:])


def _empty_run(project: Path, home: Path) -> Measured:
    arguments = ["asset", "materialize", "--select", "nothing", "-m", f"{PACKAGE}.definitions"]
    return Measured(command([script("dagster"), *arguments], project, {"DAGSTER_HOME": str(home)})[0], 0)


def rollback(settings: Settings) -> None:
    """The champion before, by a cold command and by a web server, next to the two imports, Dagster's and MLflow's."""
    days = days_from(FIRST_DAY, CHAIN + WEEK)
    commands = CommandLine(settings.folder / "b", _data(settings, days))
    for count in (CHAIN, CHAIN + WEEK):
        commands.champion(days[:count])
    server = WebServer(commands)
    results: Results = {"the two imports": [], "b  rollback": [], server.title: []}
    imports, back, served = results.values()
    for _ in range(settings.rounds):
        for number in (1, 2):
            imports.append(Measured(command([sys.executable, "-c", IMPORTS], settings.folder, {})[0], 0))
            back.append(commands.rollback(number))
    with closing(server):
        server.start()
        server.rollback(1)  # its process is begun with the first run
        for _ in range(settings.rounds):
            for number in (2, 1):
                served.append(server.rollback(number))
    _show(results, [at_most("b", wall(back), 2, " s"), at_most("c", wall(served), 2, " s")])


def definitions(settings: Settings) -> None:
    """Loading the definitions of 50 use cases, next to those of empty projects; and what 50 custom checks add."""
    data = settings.folder / "none"
    names = [f"{USE_CASE}_{number}" for number in range(USE_CASES)]
    projects = {
        "empty, one plain asset": write_empty_project(settings.folder / "plain"),
        "empty, as Dagster scaffolds it": write_scaffolded_project(settings.folder / "scaffold"),
        "1 use case": write_project(settings.folder / "one", data, names[:1]),
        f"{USE_CASES} use cases": write_project(settings.folder / "many", data, names),
    }
    results: Results = {title: [] for title in projects}
    for _ in range(settings.rounds):
        for title, project in projects.items():
            load = [sys.executable, "-c", LOAD]
            results[title].append(Measured(command(load, project, {})[0], 0))
    plain, scaffold, _, many = results.values()
    found = [
        at_most(f"{USE_CASES} use cases, times the scaffolded project", wall(many) / wall(scaffold), 2, ""),
        at_most(f"{USE_CASES} use cases, times the plain project", wall(many) / wall(plain), 2, ""),
        _custom_checks(settings),
    ]
    _show(results, found)


def _custom_checks(settings: Settings) -> Target:
    """What so many custom checks add to a run of one day."""
    wanted = f"{CHECKS} checks, added to a run"
    days = days_from(FIRST_DAY, settings.rounds)
    data = _data(settings, days)
    without = CommandLine(settings.folder / "without", data)
    with_checks = CommandLine(settings.folder / "with", data, CUSTOM_CHECKS)
    pairs = [[one.run([new]) for new in days] for one in (without, with_checks)]
    return at_most(wanted, wall(pairs[1]) - wall(pairs[0]), 1, " s")


def drift(settings: Settings) -> None:
    """Monitoring on simulated days: false alarms, and days until a shift is found; a hundred seeds each round."""
    tables, found = drifts.measured(SEEDS * settings.rounds)
    print("", *tables, report.targets(found), sep="\n\n", flush=True)


def week(_: Settings) -> None:
    """Weeks of the shipped use case on a simulated clock, with faults: what happens by itself is what is expected."""
    with TemporaryDirectory(prefix="ml-platform-week-") as folder:
        begun = [sys.executable, "-m", "benchmarks.week", folder]
        if code := subprocess.run(begun, check=False).returncode:
            raise SystemExit(code)


SCENARIOS: dict[str, Callable[[Settings], None]] = {
    "day": day,
    "month": month,
    "half-year": half_year,
    "chain": chain,
    "unchanged": unchanged,
    "rollback": rollback,
    "definitions": definitions,
    "drift": drift,
    "week": week,
    "tenfold": tenfold,
}
BIG = {"tenfold"}


def _data(settings: Settings, days: Sequence[date], copies: int = 1) -> Path:
    """The folder with a file for each of the days, and with more if it was made for another scenario."""
    folder = settings.folder.parent / f"data-{copies}"
    written = write_days(folder, days, copies)
    if written:
        _progress(f"{len(days)} files of {written:,.0f} rows on average")
    return folder


def _check_tutorial(bare: Bare, tutorial: Tutorial, days: Sequence[date]) -> None:
    for one in days:
        expected = pl.scan_delta(str(bare.lake / "features")).filter(partition=one).drop("partition").collect()
        given = tutorial.features(one).cast(dict(expected.schema))
        check_equal(expected.sort("TRANSACTION_ID"), given.sort("TRANSACTION_ID"), f"the tutorial's features of {one}")


def _show(results: Results, found: Sequence[Target], stepped: Sequence[str] = (), days: int | None = None) -> None:
    tables = [report.costs(results, days), *(report.steps(title, results[title]) for title in stepped)]
    print("", *tables, report.targets(found), sep="\n\n", flush=True)


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    scenario: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(SCENARIOS)}; by default all but {', '.join(BIG)}.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each scenario is repeated.")] = 3,
    tutorial_days: Annotated[
        int, typer.Option(min=1, help="On how many days of a longer range Dagster as taught is measured.")
    ] = 2,
) -> None:
    """Measure the platform next to a bare script and to Dagster as taught, interleaved, on simulated payments."""
    chosen = scenario or [name for name in SCENARIOS if name not in BIG]
    if unknown := [name for name in chosen if name not in SCENARIOS]:
        raise typer.BadParameter(f"there is no scenario '{unknown[0]}'; there are {', '.join(SCENARIOS)}.")
    for name in STORES:  # each contender keeps everything in its own folder
        os.environ.pop(name, None)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    versions = ", ".join(f"{name} {version(name)}" for name in ("dagster", "polars", "deltalake", "pandas"))
    machine = f"{os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}, {versions}; rounds: {rounds}", flush=True)
    with TemporaryDirectory(prefix="ml-platform-bench-") as name:
        for one in chosen:
            settings = Settings(Path(name) / one, rounds, tutorial_days)
            settings.folder.mkdir()
            print(f"\n## {one}\n\n{SCENARIOS[one].__doc__}", flush=True)
            SCENARIOS[one](settings)


if __name__ == "__main__":
    app()
