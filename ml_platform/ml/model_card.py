"""The page about a model, or about two next to each other: one HTML file that needs nothing else to be read."""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ml_platform.ml.metrics import METRICS
from ml_platform.ml.ranges import Measured, Ranges, decimals, joined, number, ranges
from ml_platform.ml.report import Interval, Report

_GREATER_IS_BETTER: Final = {name: metric.greater_is_better for of in METRICS.values() for name, metric in of.items()}
_ORIGINS: Final = ("features", "model", "evaluation", "promotion")


@dataclass(frozen=True)
class Origin:
    """A materialization that something on the page was read from.

    `name` is the stage, `partition` None where there are none, `run_id` the Dagster run, `link` the address where it is
    seen. Several origins may have one name, as the features of a model are made in several runs.
    """

    name: str
    asset: str
    partition: str | None
    data_version: str
    run_id: str
    link: str


@dataclass(frozen=True)
class GateVerdict:
    """What a gate says of a model: its condition in words, whether it is met, and why or why not."""

    name: str
    condition: str
    passed: bool
    reason: str | None


@dataclass(frozen=True)
class ModelCard:
    """What is told about a version of a model.

    `title` is the use case and the version, `facts` are what the model was made with, `decision` is what became of it.
    `lineage` has an origin or more named `features`, `model`, `evaluation` and `promotion` each. Which rows the model
    was trained and judged on is told from the report.
    """

    title: str
    description: str
    cutoff: str | None
    facts: Mapping[str, str]
    report: Report
    gates: Sequence[GateVerdict]
    decision: str
    lineage: Sequence[Origin]


def render(card: ModelCard) -> str:
    """The page about one version of a model, as HTML.

    Raises:
        ValueError: the lineage lacks the origin of something on the page.
    """
    return _page([card], {})


def render_comparison(left: ModelCard, right: ModelCard, differences: Mapping[str, Interval]) -> str:
    """The page about two versions next to each other; `differences` by metric are right minus left on the same rows.

    Raises:
        ValueError: a lineage lacks the origin of something on the page.
    """
    return _page([left, right], differences)


def _page(cards: Sequence[ModelCard], differences: Mapping[str, Interval]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ml_platform", "ml"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        joined=joined, decimals=decimals, number=number, lower_is_better=_lower_is_better, said=_said, picture=_picture
    )
    reports = [card.report for card in cards]
    return environment.get_template("model_card.html.j2").render(
        cards=cards,
        origins=list(_origins(cards)),
        differences=differences,
        metrics=joined([report.metrics for report in reports]),
        gates=joined([{gate.name: gate for gate in card.gates} for card in cards]),
        findings=joined([_findings(report) for report in reports]),
        slices=dict(_slices(reports)),
        importance=_importance(reports),
        facts=joined([card.facts for card in cards]),
        rows=joined([_rows(card) for card in cards]),
    )


def _origins(cards: Sequence[ModelCard]) -> Iterator[tuple[int, ModelCard, Origin]]:
    """The origins of each card, numbered through."""
    for card in cards:
        for needed in _ORIGINS:
            if needed not in {origin.name for origin in card.lineage}:
                raise ValueError(f"the card of {card.title} has no origin '{needed}'; add it to its lineage.")
    lineages = ((card, origin) for card in cards for origin in card.lineage)
    for place, (card, origin) in enumerate(lineages, 1):
        yield place, card, origin


def _slices(reports: Sequence[Report]) -> Iterator[tuple[str, Ranges]]:
    """The slices by each metric, the worst first, next to the metric on the whole hold-out."""
    for metric in dict.fromkeys(name for report in reports for one in report.slices for name in one.metrics):
        marks = [whole.point if (whole := report.metrics.get(metric)) else None for report in reports]
        models = [_by_slice(report, metric) for report in reports]
        yield metric, ranges(models, marks, falling=_lower_is_better(metric))


def _by_slice(report: Report, metric: str) -> Mapping[tuple[str, ...], Measured]:
    slices = [one for one in report.slices if metric in one.metrics]
    return {(one.column, one.value): Measured(one.metrics[metric], one.rows) for one in slices}


def _importance(reports: Sequence[Report]) -> Ranges | None:
    """The features, the most important first, next to 0; None where nothing is known of them."""
    if not any(report.importance for report in reports):
        return None
    models: list[dict[tuple[str, ...], Measured]] = [
        {(name,): Measured(one) for name, one in report.importance.items()} for report in reports
    ]
    return ranges(models, [0.0] * len(models), falling=True)


def _findings(report: Report) -> Mapping[str, GateVerdict]:
    return {name: GateVerdict(name, "", reason is None, reason) for name, reason in report.findings.items()}


def _rows(card: ModelCard) -> Mapping[str, str]:
    report = card.report
    return {
        **({"cutoff": card.cutoff} if card.cutoff else {}),
        "trained on": report.trained_on,
        "held out": report.held_out,
        "rows held out": f"{report.scores.height:,}",
    }


def _lower_is_better(metric: str) -> bool:
    return not _GREATER_IS_BETTER[metric]


def _said(metric: str, difference: Interval) -> str:
    """What the difference of two models says of the second."""
    if difference.low <= 0 <= difference.high:
        return "not surely different"
    return "better" if (difference.point > 0) is _GREATER_IS_BETTER[metric] else "worse"


def _picture(png: bytes) -> str:
    """A PNG picture as an address that holds it."""
    return f"data:image/png;base64,{b64encode(png).decode()}"
