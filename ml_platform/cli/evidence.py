"""The command `ml-platform evidence`: what there is to show of a use case, in one folder to hand on."""

import getpass
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import rmtree
from typing import Annotated, Any
from uuid import uuid4

import dagster as dg
import polars as pl
import typer

from ml_platform.cli.diagram import graph_of
from ml_platform.cli.drawing import mermaid, svg
from ml_platform.cli.errors import told
from ml_platform.cli.project import Project, open_project
from ml_platform.cli.runs import runs_of
from ml_platform.errors import UserError
from ml_platform.exporter.dashboard import dashboard
from ml_platform.exporter.rules import rules_file
from ml_platform.stages import ledger
from ml_platform.stages.book import COLUMNS
from ml_platform.stages.cards import condition
from ml_platform.stages.promotion import PAGE
from ml_platform.stages.work import Work

Files = Mapping[str, str]
"""The text of each file by its name."""


def evidence(
    name: Annotated[str, typer.Argument(help="The use case.")],
    to: Annotated[Path | None, typer.Option(help="A new or empty folder; by default evidence/NAME.")] = None,
) -> None:
    """Write a folder with all there is to show of a use case: pipeline, configuration, gates, champion, runs."""
    with told():
        folder = (to or Path("evidence") / name).absolute()
        project = open_project()
        project.check_use_case(name)
        write(folder, collected(project, name))
    typer.echo(f"{folder} has the evidence; begin with index.md.")


def collected(project: Project, name: str) -> Files:
    """All files of the evidence, with a page that leads to them.

    Raises:
        UserError: the champion was not trained here, or its page cannot be read.
    """
    work = project.work(name)
    parts = {title: part(project, work) for title, part in PARTS.items()}
    lines = [f"# Evidence for {name}", work.use_case.description]
    lines.append(
        f"Written by {getpass.getuser()} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC with `ml-platform evidence`."
    )
    for title, (said, files) in parts.items():
        lines += [f"## {title}", said, "\n".join(f"- [{file}]({file})" for file in files)]
    index = "\n\n".join(line for line in lines if line) + "\n"
    return {"index.md": index, **{file: text for _, files in parts.values() for file, text in files.items()}}


def write(folder: Path, files: Files) -> None:
    """Write files into a new or empty folder, all or none of them.

    Raises:
        UserError: the folder is not empty, or cannot be written.
    """
    unfinished = folder.with_name(f".{folder.name}.{uuid4()}")
    try:
        unfinished.mkdir(parents=True)
        for file, text in files.items():
            (unfinished / file).write_text(text, encoding="utf-8")
        unfinished.rename(folder)  # takes the place of an empty folder and of nothing else
    except OSError as error:
        rmtree(unfinished, ignore_errors=True)
        if folder.exists():
            raise UserError(f"{folder} is there and not an empty folder; say another one with --to.") from None
        raise UserError(f"{folder} cannot be written: {error.strerror}.") from None


def _pipeline(project: Project, work: Work) -> tuple[str, Files]:
    graph = graph_of(project, work.use_case.name)
    return "![the pipeline](pipeline.svg)", {"pipeline.svg": svg(graph), "pipeline.mmd": mermaid(graph)}


def _configuration(project: Project, work: Work) -> tuple[str, Files]:
    """The YAML file as it was written, and the use case that it became."""
    import yaml

    files = {"use_case.json": work.use_case.model_dump_json(indent=2)}
    for file in sorted(dg.ComponentTree.for_project(project.folder).defs_module_path.rglob("defs.yaml")):
        text = file.read_text(encoding="utf-8")
        names = [str((one or {}).get("attributes", {}).get("name")) for one in yaml.safe_load_all(text)]
        if any(name == work.use_case.name or "{{" in name for name in names):
            files[f"{file.parent.name}.yaml"] = text
    return "As it was written, and as it was read, with all defaults.", files


def _gates(project: Project, work: Work) -> tuple[str, Files]:  # noqa: ARG001 - as all parts are called
    """What each gate said of each model, and of the newest in a table."""
    if not work.lake.table(dg.AssetKey([work.use_case.name, "promotion"])).exists():
        return "No model was judged so far.", {}
    decided = work.rows("promotion", [None]).sort("decided_at").collect()
    rows = [
        {
            **{column: row.get(column) for column in ("decided_at", "partition", "version", "decision")},
            "gate": gate,
            "passed": reason is None,
            "reason": reason,
        }
        for row in decided.iter_rows(named=True)
        for gate, reason in json.loads(row["gates"]).items()
    ]
    last, conditions = decided.row(-1, named=True), {gate.name: condition(gate) for gate in work.use_case.gates}
    verdicts = [
        [gate, conditions.get(gate, ""), "passed" if reason is None else f"failed: {reason}"]
        for gate, reason in json.loads(last["gates"]).items()
    ]
    said = (
        f"Version {last['version']} was {last['decision']} on {last['decided_at']:%Y-%m-%d %H:%M} UTC: {last['reason']}"
    )
    table = _table(["gate", "condition", "verdict"], verdicts)
    return f"{said}\n\n{table}", {"gates.csv": pl.DataFrame(rows, infer_schema_length=None).write_csv()}


def _champion(project: Project, work: Work) -> tuple[str, Files]:  # noqa: ARG001 - as all parts are called
    """What the champion was made of, its page, and who was champion before it."""
    from ml_platform.versions.trace import trace

    book = ledger.settled(work).book
    if book.last is None:
        return "There was no champion so far.", {}
    history = pl.DataFrame([asdict(one) for one in book.entries], schema=COLUMNS).write_csv()
    if book.last.version is None:
        return "There is no champion.", {"ledger.csv": history}
    version = work.version(book.last.version)
    try:
        page = work.tracking.read_text(version.run_id, PAGE)
    except work.tracking.errors() as error:
        raise UserError(f"the page of version {version.number} cannot be read: {error}") from error
    lineage = json.dumps(trace(work, version), indent=2)
    said = f"Version {version.number}, champion since {book.last.at:%Y-%m-%d %H:%M} UTC: {book.last.why}"
    return said, {"model_card.html": page, "lineage.json": lineage, "ledger.csv": history}


def _runs(project: Project, work: Work) -> tuple[str, Files]:
    """How many runs succeeded, and how long recovery took after those that did not."""
    runs = runs_of(project.instance, work.use_case.name)
    if not runs:
        return "There was no run so far.", {}
    failed = [one for one in runs if not one.succeeded]
    said = f"{len(runs) - len(failed)} of {len(runs)} runs succeeded ({1 - len(failed) / len(runs):.1%})."
    if failed:
        recoveries = [
            [
                one.id[:8],
                one.assets,
                one.partitions,
                f"{one.ended:%Y-%m-%d %H:%M}",
                "not yet" if one.recovered_after is None else f"{timedelta(seconds=round(one.recovered_after))}",
            ]
            for one in failed
        ]
        said += "\n\n" + _table(["failed run", "assets", "partitions", "ended (UTC)", "recovered after"], recoveries)
    return said, {"runs.csv": pl.DataFrame([asdict(one) for one in runs], infer_schema_length=None).write_csv()}


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _watching(project: Project, work: Work) -> tuple[str, Files]:  # noqa: ARG001 - as the others are called
    """What Grafana and Prometheus are given; the same for all use cases."""
    return "What Prometheus scrapes from `ml-platform metrics` is shown and alerted on by these.", {
        "dashboard.json": dashboard(),
        "alert_rules.yml": rules_file(),
    }


PARTS: Mapping[str, Callable[[Project, Work], tuple[str, Files]]] = {
    "Pipeline": _pipeline,
    "Configuration": _configuration,
    "Gates": _gates,
    "Champion": _champion,
    "Runs": _runs,
    "Dashboard and alert rules": _watching,
}
