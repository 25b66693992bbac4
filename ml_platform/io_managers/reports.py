"""The I/O manager of reports: evaluations as one JSON file and one Parquet file of scores for each cutoff."""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from io import BytesIO
from typing import Any

import dagster as dg
import polars as pl
from upath import UPath

from ml_platform.io_managers.publishing import Key, Metadata, PublishingIOManager, keys_of
from ml_platform.ml.report import Interval, Report, Slice
from ml_platform.resources.lake import Lake, put


class ReportIOManager(PublishingIOManager):
    """Stores a mapping of cutoffs to reports below the asset's folder in the lake."""

    lake: dg.ResourceDependency[Lake]

    def data_versions(self, key: dg.AssetKey, partitions: Sequence[Key]) -> Mapping[Key, str]:
        """The data version of the report of each of these cutoffs."""
        files = {cutoff: _file(self.folder(key), cutoff, "json") for cutoff in partitions}
        stored = {cutoff: json.loads(file.read_text()) for cutoff, file in files.items() if file.exists()}
        return {cutoff: one["data_version"] for cutoff, one in stored.items() if one["data_version"]}

    def write(self, spec: dg.AssetSpec, value: Any, data_versions: Mapping[Key, str | None]) -> Metadata:
        """Store those reports of a mapping by cutoff."""
        for cutoff, version in data_versions.items():
            dump(value[cutoff], self.folder(spec.key), cutoff, version)
        return {}

    def load_input(self, context: dg.InputContext) -> dict[Key, Report]:
        """The reports of the cutoffs that the downstream asset needs, those that there are."""
        return self.reports(context.asset_key, keys_of(context))

    def reports(self, key: dg.AssetKey, cutoffs: Sequence[Key]) -> dict[Key, Report]:
        """The reports of these cutoffs, those that there are."""
        folder = self.folder(key)
        return {cutoff: load(folder, cutoff) for cutoff in cutoffs if _file(folder, cutoff, "json").exists()}

    def folder(self, key: dg.AssetKey) -> UPath:
        """Where the reports of an asset lie."""
        return UPath(self.lake.address(key), **self.lake.storage_options)


def dump(report: Report, folder: UPath, cutoff: Key, data_version: str | None = None) -> None:
    """Store a report; the JSON file comes last and names the scores, so that a reader never sees half of it."""
    scores = BytesIO()
    report.scores.write_parquet(scores)
    folder.mkdir(parents=True, exist_ok=True)
    scores_name = f"{cutoff or 'report'}-{sha256(scores.getvalue()).hexdigest()[:16]}.parquet"
    put(folder / scores_name, scores.getvalue())
    text = json.dumps(
        {
            "data_version": data_version,
            "run_id": report.run_id,
            "trained_on": report.trained_on,
            "held_out": report.held_out,
            "threshold": report.threshold,
            "metrics": _plain(report.metrics),
            "baselines": {name: dict(values) for name, values in report.baselines.items()},
            "figures": {name: b64encode(picture).decode() for name, picture in report.figures.items()},
            "slices": [
                {"column": one.column, "value": one.value, "rows": one.rows, "metrics": _plain(one.metrics)}
                for one in report.slices
            ],
            "importance": _plain(report.importance),
            "findings": dict(report.findings),
            "scores": scores_name,
        }
    )
    put(_file(folder, cutoff, "json"), text.encode())


def load(folder: UPath, cutoff: Key) -> Report:
    """A stored report."""
    stored = json.loads(_file(folder, cutoff, "json").read_text())
    return Report(
        run_id=stored["run_id"],
        trained_on=stored["trained_on"],
        held_out=stored["held_out"],
        threshold=stored["threshold"],
        metrics=_intervals(stored["metrics"]),
        baselines=stored["baselines"],
        figures={name: b64decode(text) for name, text in stored["figures"].items()},
        slices=[Slice(**{**one, "metrics": _intervals(one["metrics"])}) for one in stored["slices"]],
        importance=_intervals(stored["importance"]),
        findings=stored["findings"],
        scores=pl.read_parquet(BytesIO((folder / stored["scores"]).read_bytes())),
    )


def _plain(intervals: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: asdict(interval) for name, interval in intervals.items()}


def _intervals(stored: Mapping[str, Mapping[str, float]]) -> dict[str, Interval]:
    return {name: Interval(**values) for name, values in stored.items()}


def _file(folder: UPath, cutoff: Key, ending: str) -> UPath:
    return folder / f"{cutoff or 'report'}.{ending}"
