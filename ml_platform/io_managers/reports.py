"""The I/O manager of reports: evaluations as one JSON file and one Parquet file of scores for each cutoff."""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from io import BytesIO

import dagster as dg
import polars as pl
from upath import UPath

from ml_platform.io_managers.publishing import Audited, Metadata, cutoffs_of, publish
from ml_platform.ml.report import Interval, Report
from ml_platform.resources.lake import Lake


class ReportIOManager(dg.ConfigurableIOManager):
    """Stores a mapping of cutoffs to reports below the asset's folder in the lake."""

    lake: dg.ResourceDependency[Lake]

    def handle_output(self, context: dg.OutputContext, obj: Audited[Mapping[str | None, Report]]) -> None:
        """Store the reports of the cutoffs that passed.

        Raises:
            dagster.Failure: at least one cutoff was refused.
        """
        folder = self._folder(context.asset_key)

        def write(cutoffs: Sequence[str] | None) -> Metadata:
            for cutoff in cutoffs if cutoffs is not None else [None]:
                dump(obj.value[cutoff], folder, cutoff)
            return {}

        publish(context, obj, write)

    def load_input(self, context: dg.InputContext) -> dict[str | None, Report]:
        """The reports of the cutoffs that the downstream asset needs, those that there are."""
        folder = self._folder(context.asset_key)
        cutoffs: Sequence[str | None] = cutoffs_of(context)
        return {cutoff: load(folder, cutoff) for cutoff in cutoffs if _file(folder, cutoff, "json").exists()}

    def _folder(self, key: dg.AssetKey) -> UPath:
        return UPath(self.lake.address(key), **self.lake.storage_options)


def dump(report: Report, folder: UPath, cutoff: str | None) -> None:
    """Store a report; the JSON file comes last and names the scores, so that a reader never sees half of it."""
    scores = BytesIO()
    report.scores.write_parquet(scores)
    folder.mkdir(parents=True, exist_ok=True)
    scores_name = f"{cutoff or 'report'}-{sha256(scores.getvalue()).hexdigest()[:16]}.parquet"
    (folder / scores_name).write_bytes(scores.getvalue())
    text = json.dumps(
        {
            "run_id": report.run_id,
            "trained_on": report.trained_on,
            "held_out": report.held_out,
            "metrics": {name: asdict(interval) for name, interval in report.metrics.items()},
            "baselines": {name: dict(values) for name, values in report.baselines.items()},
            "figures": {name: b64encode(picture).decode() for name, picture in report.figures.items()},
            "scores": scores_name,
        }
    )
    unfinished = folder / f".{scores_name}.json"
    unfinished.write_text(text)
    unfinished.rename(_file(folder, cutoff, "json"))


def load(folder: UPath, cutoff: str | None) -> Report:
    """A stored report."""
    stored = json.loads(_file(folder, cutoff, "json").read_text())
    return Report(
        run_id=stored["run_id"],
        trained_on=stored["trained_on"],
        held_out=stored["held_out"],
        metrics={name: Interval(**values) for name, values in stored["metrics"].items()},
        baselines=stored["baselines"],
        figures={name: b64decode(text) for name, text in stored["figures"].items()},
        scores=pl.read_parquet(BytesIO((folder / stored["scores"]).read_bytes())),
    )


def _file(folder: UPath, cutoff: str | None, ending: str) -> UPath:
    return folder / f"{cutoff or 'report'}.{ending}"
